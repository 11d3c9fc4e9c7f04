"""Flipped repeats: a pair comes again to its labeler, like any other, and counts nowhere but for their consistency."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from annotate.exporting.rule import DatasetRule
from annotate.models import Assignment, Choice, Comparison, FlagReason, Judgment, Project, SkipReason
from annotate.selectors.answers import list_answers
from annotate.selectors.counted import select_counted
from annotate.selectors.labelers import count_uncounted, describe_labeler, list_recent
from annotate.selectors.progress import measure_progress
from annotate.selectors.projects import list_members
from annotate.selectors.quality import measure_quality
from annotate.services.assignments import next_comparison
from annotate.services.datasets import preview_dataset
from annotate.services.flags import flag_comparison
from annotate.services.judgments import skip_comparison, submit_judgment, undo_judgment
from tests.annotate.test_next_comparison import LATER, hand_out
from tests.annotate.votes import vote

Api = Callable[[User], APIClient]
DAYS = timedelta(days=3, minutes=1)
SAID = {"a": Choice.LEFT_SLIGHTLY, "b": Choice.RIGHT_SLIGHTLY}


@pytest.fixture
def repeating(project: Project) -> Project:
    """Whatever may come again does so at once."""
    Project.objects.filter(pk=project.pk).update(repeat_rate=1.0, max_votes=5)
    project.refresh_from_db()
    return project


def answer(held: Assignment, choice: Choice = Choice.LEFT_SLIGHTLY, now: datetime | None = None) -> Judgment:
    return submit_judgment(labeler=held.labeler, project=held.project, token=held.token, choice=choice, now=now)


def repeat(project: Project, labeler: User) -> tuple[Assignment, datetime]:
    """The labeler's first pair, judged, and handed to them again; and when that is."""
    answer(hand_out(labeler, project))
    now = timezone.now() + DAYS
    return hand_out(labeler, project, now=now), now


def test_a_pair_comes_again_after_days_with_its_sides_swapped_and_once(
    repeating: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    first = hand_out(labeler, repeating)
    answer(first)
    second = hand_out(labeler, repeating)
    assert second.comparison == comparisons[1]  # it is too early
    answer(second, Choice.UNSURE)  # names no side, so there is nothing to compare
    again = hand_out(labeler, repeating, now=timezone.now() + DAYS)
    assert (again.comparison, again.kind) == (comparisons[0], Assignment.Kind.REPEAT)
    assert {again.left_response, first.left_response} == {"a", "b"}
    assert (again.side_propensity, again.pair_propensity, again.position) == (1.0, 1.0, 3)
    answer(again)
    assert hand_out(labeler, repeating, now=timezone.now() + DAYS).comparison == comparisons[2]


def test_without_a_rate_nothing_comes_again(project: Project, labeler: User, comparisons: list[Comparison]) -> None:
    answer(hand_out(labeler, project))
    assert hand_out(labeler, project, now=timezone.now() + DAYS).comparison == comparisons[1]


def test_repeats_count_nowhere_but_for_consistency(
    repeating: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    again, now = repeat(repeating, labeler)
    said = answer(again, now=now)  # the left one again: the other response
    assert said.is_repeat and not said.surplus
    pair = Comparison.objects.get(pk=again.comparison_id)
    assert (pair.need, pair.taken) == (1, 1)  # a vote against the first one asks for nobody
    assert select_counted().count() == 1 and list_members(repeating).get(pk=labeler.pk).votes == 1  # type: ignore[attr-defined]
    tally = preview_dataset(project=repeating, rule=DatasetRule(eval_share=0.0)).tally
    assert tally.total_rows == 1 and tally.as_json()["votes"] == 1
    report = measure_quality(repeating)
    assert (report.votes, report.repeated) == (1, 0)
    assert (report.repeats.same.value, report.repeats.same_side.value, report.repeats.same.count) == (0.0, 1.0, 1)
    assert report.labelers[0].repeats.same_side.value == 1.0


def test_nothing_tells_a_repeat_from_another_pair(
    repeating: Project, labeler: User, comparisons: list[Comparison], api: Api
) -> None:
    client, address = api(labeler), f"/api/v1/projects/{repeating.slug}/"
    Project.objects.filter(pk=repeating.pk).update(repeat_after_days=0)
    repeating.refresh_from_db()
    left, kinds, keys = [], [], set()
    while pair := (desk := client.post(f"{address}next/").json())["pair"]:
        left.append(desk["progress"]["left_for_me"])
        keys.add((*desk, *pair, *desk["progress"]))
        kinds.append(Assignment.objects.get(token=pair["token"]).kind)
        client.post(f"{address}judgments/", {"token": pair["token"], "choice": "left_slightly"})
    assert len(keys) == 1 and kinds.count("repeat") == 3 and kinds.count("ordinary") == 4
    progress = measure_progress(repeating, labeler)
    assert (progress.done_by_me, progress.left_for_me) == (7, 0) and progress.done == progress.needed
    assert left[-1] == 1 and all(before >= after for before, after in pairwise(left))


def test_a_repeat_is_undone_skipped_flagged_and_answered_late_as_any_pair(
    repeating: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    again, _now = repeat(repeating, labeler)
    give: dict[str, Any] = {"labeler": labeler, "project": repeating}
    assert flag_comparison(**give, token=again.token, reason=FlagReason.OTHER).comparison == again.comparison
    late = again.expires_at + LATER
    assert next_comparison(**give, now=late) is not None
    answer(again, now=late)
    back = undo_judgment(**give, now=late)
    assert (back.pk, back.kind, back.left_response, back.holds_place) == (
        again.pk,
        "repeat",
        again.left_response,
        False,
    )
    said = skip_comparison(**give, token=back.token, reason=SkipReason.OTHER, now=late)
    assert said.is_repeat and Comparison.objects.get(pk=again.comparison_id).taken == 1


def test_the_quality_page_shows_them(
    client: Client, admin: User, repeating: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    again, now = repeat(repeating, labeler)
    answer(again, now=now)
    client.force_login(admin)
    page = client.get(reverse("project_quality", args=[repeating.slug])).content.decode()
    assert "1 pair came again to its labeler" in page and "Same side again" in page
    page = client.get(reverse("comparison_detail", args=[again.comparison_id])).content.decode()
    assert "asked again" in page


# -- What its labeler finds of it ------------------------------------------------------------------------------------


def test_the_history_shows_a_pair_once_as_it_was_met_last(
    repeating: Project, labeler: User, comparisons: list[Comparison], client: Client, api: Api
) -> None:
    first = answer(hand_out(labeler, repeating))
    assert list(list_answers(repeating, labeler)) == [first]
    now = timezone.now() + DAYS
    again = hand_out(labeler, repeating, now=now)
    give: dict[str, Any] = {"labeler": labeler, "project": repeating}
    words: dict[str, Any] = {"words": "Question 1?"}
    assert not list_answers(**give, **words).exists(), "the desk's own words lead to no answer given before"
    said = answer(again, now=now)
    assert list(list_answers(**give, **words)) == [said] == list(list_recent(repeating, labeler))
    client.force_login(labeler)
    page = client.get(reverse("answer_list", args=[repeating.slug])).content.decode()
    assert page.count("<article") == 1 and "1 answer<" not in page
    assert "1 answer<" in client.get(reverse("answer_list", args=[repeating.slug]), words).content.decode()
    rows = api(labeler).get(reverse("api_answer_list", args=[repeating.slug])).json()["results"]
    assert [row["token"] for row in rows] == [str(said.token)]
    undo_judgment(**give, now=now)
    assert not list_answers(**give).exists(), "it is on the desk again"


def test_ones_own_counts_go_on_at_a_repeat_and_those_of_votes_do_not(
    repeating: Project, labeler: User, teammate: User, admin: User, comparisons: list[Comparison], client: Client
) -> None:
    again, now = repeat(repeating, labeler)
    vote(comparisons[0], teammate)
    before = describe_labeler(repeating, labeler).votes, measure_progress(repeating, labeler).done_by_me
    answer(again, now=now)
    assert before == (1, 1)
    assert (describe_labeler(repeating, labeler).votes, measure_progress(repeating, labeler).done_by_me) == (2, 2)
    assert select_counted().filter(comparison=again.comparison).count() == 2  # the teammate's and the first one
    assert count_uncounted(repeating, labeler) == 1 and count_uncounted(repeating, teammate) == 0
