"""The display ledger: what each answer was given on, in which order, and how it came to be shown."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils.translation import override
from rest_framework.test import APIClient

from annotate import rendering
from annotate.models import Choice, Comparison, Judgment, Project, SkipReason
from annotate.rendering import RENDERER_VERSION, hash_rendering, render_text
from annotate.selectors import displays
from annotate.services.judgments import skip_comparison, submit_judgment, undo_judgment
from tests.annotate.test_next_comparison import LATER, hand_out
from tests.annotate.votes import vote
from tests.conftest import MakeComparison

Api = Callable[[User], APIClient]


def test_the_hash_is_that_of_the_markup_and_the_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [("user", "*Hi*"), ("left", "**one**"), ("right", "two\u200b\u00a0three")]
    plain = f"renderer {RENDERER_VERSION}"
    for label, text in parts:
        markup = render_text(text)
        plain += f"\n{label} {len(markup.encode())}\n{markup}"
    shown = hash_rendering([parts[0]], parts[1][1], parts[2][1])
    assert shown == hashlib.sha256(plain.encode()).hexdigest()
    assert shown != hash_rendering([parts[0]], parts[2][1], parts[1][1])
    monkeypatch.setattr(rendering, "RENDERER_VERSION", RENDERER_VERSION + 1)
    assert shown != hash_rendering([parts[0]], parts[1][1], parts[2][1])


def test_every_answer_keeps_what_was_shown(project: Project, labeler: User, comparisons: list[Comparison]) -> None:
    give = {"labeler": labeler, "project": project}
    first = hand_out(labeler, project)
    texts = {"a": first.comparison.response_a.text, "b": first.comparison.response_b.text}
    left, right = texts.pop(first.left_response), next(iter(texts.values()))
    expected = hash_rendering([("user", "Question 1?")], left, right)
    assert (first.position, first.render_hash, first.side_propensity, first.pair_propensity) == (1, expected, 0.5, 1.0)
    said = submit_judgment(**give, token=first.token, choice=Choice.UNSURE)  # type: ignore[arg-type]
    assert said.copy_display() == first.copy_display()
    second = hand_out(labeler, project)
    skipped = skip_comparison(**give, token=second.token, reason=SkipReason.OTHER)  # type: ignore[arg-type]
    assert (skipped.position, skipped.render_hash) == (2, second.render_hash)
    again = undo_judgment(**give)  # type: ignore[arg-type]
    assert (again.position, again.render_hash, again.left_response) == (3, second.render_hash, second.left_response)


def test_a_pair_that_comes_back_is_shown_anew(project: Project, labeler: User, make_comparison: MakeComparison) -> None:
    make_comparison()
    first = hand_out(labeler, project)
    assert hand_out(labeler, project).position == 1
    later = hand_out(labeler, project, now=first.expires_at + LATER)
    assert (later.token, later.position) == (first.token, 2)


def test_each_labeler_and_project_counts_by_itself(
    project: Project, labeler: User, teammate: User, comparisons: list[Comparison]
) -> None:
    assert hand_out(labeler, project).position == hand_out(teammate, project).position == 1


def test_reviewers_see_the_ledger_and_labelers_do_not(
    api: Api, client: Client, project: Project, labeler: User, admin: User, comparisons: list[Comparison]
) -> None:
    held = hand_out(labeler, project)
    submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE)
    address = f"/api/v1/projects/{project.slug}/judgments/"
    (row,) = api(admin).get(address).json()["results"]
    assert (row["position"], row["render_hash"], row["side_propensity"]) == (1, held.render_hash, 0.5)
    (row,) = api(labeler).get(address).json()["results"]
    assert not {"position", "render_hash", "left_response", "pair_propensity"} & set(row)
    client.force_login(admin)
    page = client.get(reverse("comparison_detail", args=[held.comparison_id])).content.decode()
    assert held.render_hash in page and "no. 1" in page


def test_what_would_look_different_today_is_found(
    project: Project, labeler: User, teammate: User, make_comparison: MakeComparison
) -> None:
    for _number in range(3):
        last = make_comparison(a="A space at the end ")  # whose mark has another name in each language
    for language in ("ko", "en"):
        with override(language):
            held = hand_out(labeler, project)
        submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE)
    vote(last, teammate)  # as from before there was a ledger
    out = StringIO()
    call_command("verify_displays", project=project.slug, stdout=out)
    assert out.getvalue() == "2 shown as today, 0 differently, 1 not recorded.\n"
    changed = Judgment.objects.earliest("pk")
    changed.comparison.response_b.text += "!"
    changed.comparison.response_b.save()
    out = StringIO()
    call_command("verify_displays", project=project.slug, stdout=out)
    assert out.getvalue() == f"1 shown as today, 1 differently, 1 not recorded.\n  judgment {changed.pk}\n"


# -- The ledger as a file ---------------------------------------------------------------------------------------------


def test_those_who_lead_download_the_ledger(
    project: Project, labeler: User, admin: User, api: Api, client: Client, comparisons: list[Comparison]
) -> None:
    give = {"labeler": labeler, "project": project}
    said = submit_judgment(**give, token=hand_out(labeler, project).token, choice=Choice.LEFT_SLIGHTLY)  # type: ignore[arg-type]
    undo_judgment(**give)  # type: ignore[arg-type]
    undone = Judgment.objects.get(supersedes=said)
    client.force_login(admin)
    response = client.get(reverse("display_csv", args=[project.slug]))
    assert response["Content-Disposition"] == 'attachment; filename="kitchen-help-displays.csv"'
    rows = list(csv.DictReader(StringIO(response.getvalue().decode())))
    assert [(row["judgment"], row["action"], row["supersedes"]) for row in rows] == [
        (str(said.pk), "vote", ""),
        (str(undone.pk), "undo", str(said.pk)),
    ]
    first = rows[0]
    assert {name: first[name] for name in ("labeler", "kind", "winner", "grade")} == {
        "labeler": "labeler",
        "kind": "ordinary",
        "winner": said.left_response,
        "grade": "slightly",
    }
    assert {name: first[name] for name in said.copy_display()} == {
        name: str(value) for name, value in said.copy_display().items()
    }
    theirs = api(admin).get(reverse("api_displays", args=[project.slug]))
    assert theirs.getvalue() == client.get(reverse("display_csv", args=[project.slug])).getvalue()
    page = client.get(reverse("project_quality", args=[project.slug])).content.decode()
    assert reverse("display_csv", args=[project.slug]) in page


def test_the_ledger_is_read_in_chunks_as_it_is_sent(
    project: Project,
    teammate: User,
    comparisons: list[Comparison],
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: Callable[..., AbstractContextManager[object]],
) -> None:
    said = [vote(comparison, teammate) for comparison in comparisons]
    monkeypatch.setattr(displays, "_CHUNK", 3)
    lines = displays.write_ledger(project)
    with django_assert_num_queries(0):
        assert next(lines).startswith("judgment,created_at,labeler,")
    with django_assert_num_queries(1):
        found = [next(lines) for _number in range(3)]
    with django_assert_num_queries(2):
        found += lines
    assert [line.split(",")[0] for line in found] == [str(judgment.pk) for judgment in said]


def test_a_name_is_no_formula(project: Project, comparisons: list[Comparison]) -> None:
    vote(comparisons[0], User.objects.create(username="@sum"))
    assert ",'@sum," in list(displays.write_ledger(project))[1]
