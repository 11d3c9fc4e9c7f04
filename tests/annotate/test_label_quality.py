"""Label quality of a project: the selector, the command and the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from annotate.models import Comparison, Project, ResponseScore
from annotate.selectors import quality, totals
from annotate.selectors.quality import find_measured, get_quality, measure_quality, read_votes
from tests.annotate.votes import undo, vote
from tests.conftest import MakeComparison
from tests.scenery import make_model


@pytest.fixture
def judged(make_comparison: MakeComparison, labeler: User, teammate: User) -> list[Comparison]:
    """Two labelers agree on three of four pairs, and both prefer the longer answer."""
    pairs = [make_comparison(a="short", b="much longer and **bold**", need=2) for _ in range(4)]
    for number, pair in enumerate(pairs):
        vote(pair, labeler, "b", "slightly")
        vote(pair, teammate, "a" if number == 0 else "b", "significantly")
    return pairs


def test_the_report_counts_standing_votes_in_terms_of_responses(
    project: Project, judged: list[Comparison], labeler: User, admin: User
) -> None:
    undo(vote(judged[0], admin, "a"))
    table, _grade, _week = read_votes(project)
    assert table.votes == 8 and set(table.side.tolist()) == {1}
    assert sorted(table.level.tolist()) == [-4, -4, -4, -2, -2, -2, -2, 4]
    report = measure_quality(project)
    assert (report.votes, report.comparisons, report.repeated) == (8, 4, 4)
    assert report.agreement.value == 0.75 and report.agreement.count == 4
    assert report.position.value == 0.125  # response a stood on the left throughout
    assert {each.name for each in report.labelers} == {"labeler", "teammate"}
    assert report.style.features["length"].value is not None and report.style.features["length"].value > 0


def test_a_reward_models_style_stands_beside_the_labelers(
    project: Project, judged: list[Comparison], admin: User
) -> None:
    judge = make_model(admin, name="judge", kind="reward")
    for pair in judged:
        ResponseScore.objects.create(response=pair.response_a, model=judge, score=2.0)
        ResponseScore.objects.create(response=pair.response_b, model=judge, score=-1.0)
    effects = measure_quality(project).style_of_models["judge"]
    assert effects.features["length"].value is not None and effects.features["length"].value < 0
    assert effects.features["length"].count == 4


def test_the_report_is_kept_until_a_vote_comes(project: Project, judged: list[Comparison], admin: User) -> None:
    before = get_quality(project)
    assert get_quality(project) == before
    vote(judged[0], admin, "a")
    assert get_quality(project).votes == before.votes + 1


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Eight votes are many here, and a report of them is kept for years."""
    monkeypatch.setattr(totals, "EXACT_UP_TO", 3)
    monkeypatch.setattr(quality, "_KEPT_FOR", 1e9)
    cache.clear()
    yield
    cache.clear()


def test_a_report_of_many_votes_is_shown_for_a_while_and_then_measured_anew(
    many: None, project: Project, judged: list[Comparison], admin: User, client: Client
) -> None:
    assert find_measured(project) is None, "looking measures nothing"
    before = get_quality(project)
    vote(judged[0], admin, "a")
    assert get_quality(project).votes == before.votes == 8 and find_measured(project) == before
    client.force_login(admin)
    page = client.get(reverse("project_quality", args=[project.slug])).content.decode()
    assert "8 votes" in page and "not with every vote" in page
    cache.delete(f"label-quality:{quality._VERSION}:{project.pk}:kept")  # as when its time is over
    assert get_quality(project).votes == 9


def test_admins_see_figures_with_intervals(
    client: Client, admin: User, project: Project, judged: list[Comparison]
) -> None:
    client.force_login(admin)
    page = client.get(reverse("project_quality", args=[project.slug])).content.decode()
    assert "8 votes on 4 comparisons" in page and "75 %" in page and "teammate" in page
    assert (
        reverse("project_quality", args=[project.slug])
        in client.get(reverse("project_detail", args=[project.slug])).content.decode()
    )


def test_a_project_without_votes_says_so(client: Client, admin: User, project: Project) -> None:
    client.force_login(admin)
    assert "Nobody has voted yet." in client.get(reverse("project_quality", args=[project.slug])).content.decode()


def test_single_votes_are_no_agreement(
    client: Client, admin: User, project: Project, comparisons: list[Comparison], labeler: User
) -> None:
    vote(comparisons[0], labeler, "a")
    client.force_login(admin)
    page = client.get(reverse("project_quality", args=[project.slug])).content.decode()
    assert "No comparison has two votes yet." in page


def test_labelers_see_neither_page_nor_link(client: Client, labeler: User, project: Project) -> None:
    client.force_login(labeler)
    assert client.get(reverse("project_quality", args=[project.slug])).status_code == 403
    assert "Label quality" not in client.get(reverse("project_detail", args=[project.slug])).content.decode()


def test_the_command_prints_the_same(project: Project, judged: list[Comparison]) -> None:
    out = StringIO()
    call_command("label_quality", project=project.slug, json=True, stdout=out)
    assert json.loads(out.getvalue())["agreement"]["value"] == 0.75
    out = StringIO()
    call_command("label_quality", project=project.slug, stdout=out)
    assert "agreement: 0.750" in out.getvalue() and "labeler teammate: 4 votes" in out.getvalue()
    with pytest.raises(CommandError, match="no project"):
        call_command("label_quality", project="nowhere")
