"""Submitting a judgment: rule and API. The page is in test_compare_page.py."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.test import APIClient

from annotate.models import Assignment, Choice, Comparison, Grade, Judgment, Project, SkipReason
from annotate.selectors.progress import measure_progress
from annotate.services.judgments import AnswerConflictError, UnknownTokenError, skip_comparison, submit_judgment
from annotate.services.places import reap_expired
from tests.annotate.test_next_comparison import hand_out
from tests.conftest import MakeComparison

LATER = timedelta(seconds=settings.ASSIGNMENT_LEASE_SECONDS + 1)
Api = Callable[[User], APIClient]


@pytest.mark.parametrize("choice", Choice)
def test_each_choice_is_stored_as_grade_side_and_winner(
    project: Project, labeler: User, comparisons: list[Comparison], choice: Choice
) -> None:
    held = hand_out(labeler, project)
    vote = submit_judgment(labeler=labeler, project=project, token=held.token, choice=choice)
    vote.refresh_from_db()
    assert vote.choice == choice
    assert (vote.left_response, vote.seed, vote.shown_at) == (held.left_response, held.seed, held.leased_at)
    if choice is Choice.UNSURE:
        assert (vote.grade, vote.side, vote.winner) == (Grade.UNSURE, "", "")
    else:
        assert vote.winner == (held.left_response if vote.side == "left" else "ab".replace(held.left_response, ""))


def test_the_same_answer_twice_is_stored_once(project: Project, labeler: User, comparisons: list[Comparison]) -> None:
    held = hand_out(labeler, project)
    first = submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.LEFT_SLIGHTLY)
    again = submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.LEFT_SLIGHTLY)
    assert first == again
    assert Judgment.objects.count() == 1


def test_a_second_different_answer_is_a_conflict(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    held = hand_out(labeler, project)
    submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.LEFT_SLIGHTLY)
    with pytest.raises(AnswerConflictError, match="first answer stands"):
        submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.RIGHT_SLIGHTLY)
    with pytest.raises(AnswerConflictError):
        skip_comparison(labeler=labeler, project=project, token=held.token, reason=SkipReason.OTHER)
    assert Judgment.objects.get().choice == Choice.LEFT_SLIGHTLY


def test_a_late_answer_takes_its_place_again(project: Project, labeler: User, make_comparison: MakeComparison) -> None:
    only = make_comparison()
    held = hand_out(labeler, project)
    reap_expired(now=timezone.now() + LATER)
    vote = submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE)
    only.refresh_from_db()
    assert not vote.surplus
    assert only.taken == 1


def test_a_late_answer_to_a_full_pair_is_kept_as_surplus(
    project: Project, labeler: User, teammate: User, make_comparison: MakeComparison
) -> None:
    only = make_comparison()
    held = hand_out(labeler, project)
    reap_expired(now=timezone.now() + LATER)
    taken_over = hand_out(teammate, project)
    vote = submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE)
    other = submit_judgment(labeler=teammate, project=project, token=taken_over.token, choice=Choice.UNSURE)
    only.refresh_from_db()
    assert (vote.surplus, other.surplus) == (True, False)
    assert only.taken == only.need == 1
    assert measure_progress(project, labeler).done == 1


def test_a_late_answer_counts_even_after_the_pair_came_back(
    project: Project, labeler: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    shown_in_one_tab = hand_out(labeler, project).token
    reap_expired(now=timezone.now() + LATER)
    hand_out(labeler, project)
    vote = submit_judgment(labeler=labeler, project=project, token=shown_in_one_tab, choice=Choice.UNSURE)
    assert not vote.surplus


def test_a_token_of_somebody_else_is_unknown(
    project: Project, labeler: User, teammate: User, comparisons: list[Comparison]
) -> None:
    held = hand_out(labeler, project)
    for token in (held.token, uuid.uuid4()):
        with pytest.raises(UnknownTokenError):
            submit_judgment(labeler=teammate, project=project, token=token, choice=Choice.UNSURE)
    assert not Judgment.objects.exists()


def test_seconds_are_measured_and_bounded_by_what_passed(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    for said, stored in ((None, 60.0), (12.5, 12.5), (9e9, 60.0), (-3.0, 0.0)):
        held = hand_out(labeler, project)
        now = held.leased_at + timedelta(seconds=60)
        vote = submit_judgment(
            labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE, seconds=said, now=now
        )
        assert vote.seconds == stored


def test_progress_counts_votes_that_stand(
    project: Project, labeler: User, teammate: User, comparisons: list[Comparison]
) -> None:
    held = hand_out(labeler, project)
    submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE)
    hand_out(labeler, project)
    mine, theirs = measure_progress(project, labeler), measure_progress(project, teammate)
    assert (mine.done_by_me, mine.left_for_me, mine.done, mine.needed) == (1, 3, 1, 4)
    assert (theirs.done_by_me, theirs.left_for_me) == (0, 2)


def test_api_submits_and_hands_the_next_pair_out(
    project: Project, labeler: User, comparisons: list[Comparison], api: Api
) -> None:
    held = hand_out(labeler, project)
    address = f"/api/v1/projects/{project.slug}/judgments/"
    payload = {"token": str(held.token), "choice": "right_significantly", "seconds": 3}
    client = api(labeler)
    first, again = client.post(address, payload), client.post(address, payload)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first.json()["choice"] == "right_significantly"
    conflict = client.post(address, payload | {"choice": "unsure"})
    assert conflict.status_code == 409
    assert "first answer stands" in conflict.json()["detail"]
    assert Judgment.objects.count() == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"choice": "both"}, "choice"),
        ({"choice": None}, "choice"),
        ({"token": "7"}, "token"),
        ({"seconds": "long"}, "seconds"),
        ({"seconds": "NaN"}, "seconds"),
        ({"seconds": -1}, "seconds"),
    ],
)
def test_api_names_the_bad_field(
    project: Project, labeler: User, comparisons: list[Comparison], api: Api, change: dict[str, object], field: str
) -> None:
    held = hand_out(labeler, project)
    payload = {"token": str(held.token), "choice": "unsure"} | change
    answer = api(labeler).post(f"/api/v1/projects/{project.slug}/judgments/", payload)
    assert answer.status_code == 400
    assert set(answer.json()) == {field}
    assert not Judgment.objects.exists()


def test_api_does_not_know_a_token_of_somebody_else(
    project: Project, labeler: User, teammate: User, comparisons: list[Comparison], api: Api
) -> None:
    held = hand_out(labeler, project)
    payload = {"token": str(held.token), "choice": "unsure"}
    answer = api(teammate).post(f"/api/v1/projects/{project.slug}/judgments/", payload)
    assert answer.status_code == 404
    assert "nothing was stored" in answer.json()["detail"]


def test_api_history_is_ones_own_and_everybodys_for_an_admin(
    project: Project, labeler: User, teammate: User, admin: User, comparisons: list[Comparison], api: Api
) -> None:
    for person in (labeler, teammate):
        held = hand_out(person, project)
        submit_judgment(labeler=person, project=project, token=held.token, choice=Choice.LEFT_SLIGHTLY)
    address = f"/api/v1/projects/{project.slug}/judgments/"
    mine = api(labeler).get(address)
    assert [row["labeler"] for row in mine.json()["results"]] == ["labeler"]
    assert mine.json()["results"][0]["stands"] is True
    for secret in ("winner", "seed", "left_response", "surplus", "origin", "response_a"):
        assert secret not in mine.content.decode()
    everybodys = api(admin).get(address).json()["results"]
    assert [row["labeler"] for row in everybodys] == ["teammate", "labeler"]
    assert {row["winner"] for row in everybodys} <= {"a", "b"}


def test_nothing_but_the_assignment_says_whether_a_place_is_held(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    """The counter of a comparison is the number of its assignments that hold a place."""
    held = hand_out(labeler, project)
    submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE)
    hand_out(labeler, project)
    for comparison in Comparison.objects.all():
        assert comparison.taken == Assignment.objects.filter(comparison=comparison, holds_place=True).count()
