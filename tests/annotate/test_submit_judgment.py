"""Submitting a judgment: rule and API. The page is in test_compare_page.py."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from annotate.models import SIDELESS_GRADES, Assignment, Choice, Comparison, Grade, Judgment, Project, Scale, SkipReason
from annotate.selectors.progress import measure_progress
from annotate.services.answers import AnswerRefusedError
from annotate.services.judgments import (
    AnswerConflictError,
    UnknownTokenError,
    skip_comparison,
    submit_judgment,
)
from annotate.services.places import reap_expired
from tests.annotate.test_next_comparison import hand_out
from tests.annotate.votes import vote
from tests.conftest import MakeComparison

LATER = timedelta(seconds=settings.ASSIGNMENT_LEASE_SECONDS + 1)
Api = Callable[[User], APIClient]


@pytest.mark.parametrize("choice", Choice)
def test_each_choice_is_stored_as_grade_side_and_winner(
    project: Project, labeler: User, comparisons: list[Comparison], choice: Choice
) -> None:
    project.scale = Scale.FOUR if choice.grade is Grade.BETTER else Scale.THREE
    project.allows_equal = project.allows_both_bad = True
    held = hand_out(labeler, project)
    vote = submit_judgment(labeler=labeler, project=project, token=held.token, choice=choice)
    vote.refresh_from_db()
    assert (vote.choice, vote.scale) == (choice, project.scale)
    assert (vote.left_response, vote.seed, vote.shown_at) == (held.left_response, held.seed, held.leased_at)
    if choice.grade in SIDELESS_GRADES:
        assert (vote.grade, vote.side, vote.winner) == (choice.value, "", "")
    else:
        assert vote.winner == (held.left_response if vote.side == "left" else "ab".replace(held.left_response, ""))


def test_the_scale_decides_what_is_offered() -> None:
    rail = ["significantly", "slightly", "negligibly"]
    sides = [f"left_{grade}" for grade in rail], [f"right_{grade}" for grade in reversed(rail)]
    assert Project().choices == [*sides[0], "unsure", *sides[1]]
    assert Project(allows_equal=True, allows_both_bad=True).choices[7:] == ["equal", "both_bad"]
    four = Project(scale=Scale.FOUR, allows_both_bad=True).choices
    assert four[:4] == ["left_significantly", "left_better", "left_slightly", "left_negligibly"]
    assert len(four) == 9 and "unsure" not in four and four[8] == "both_bad"


@pytest.mark.parametrize(
    ("scale", "choice"),
    [("three", Choice.LEFT_BETTER), ("four", Choice.UNSURE), ("three", Choice.EQUAL), ("four", Choice.BOTH_BAD)],
)
def test_an_answer_that_is_not_offered_is_refused(
    project: Project, labeler: User, comparisons: list[Comparison], api: Api, scale: str, choice: Choice
) -> None:
    Project.objects.update(scale=scale)
    project.refresh_from_db()
    held = hand_out(labeler, project)
    with pytest.raises(AnswerRefusedError, match="does not offer") as caught:
        submit_judgment(labeler=labeler, project=project, token=held.token, choice=choice)
    assert caught.value.field == "choice"
    payload = {"token": str(held.token), "choice": choice.value}
    answer = api(labeler).post(f"/api/v1/projects/{project.slug}/judgments/", payload)
    assert answer.status_code == 400 and "does not offer" in answer.json()["choice"][0]
    assert not Judgment.objects.exists()


def test_what_was_stored_before_the_scale_changed_is_answered_alike(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    held = hand_out(labeler, project)
    first = submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE)
    project.scale = Scale.FOUR
    assert submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE) == first


def test_the_database_holds_a_side_for_every_grade_that_has_one(labeler: User, make_comparison: MakeComparison) -> None:
    for grade in Grade:
        for winner in ("a", ""):
            comparison, right = make_comparison(), bool(winner) is (grade not in SIDELESS_GRADES)
            with nullcontext() if right else pytest.raises(IntegrityError), transaction.atomic():
                said = vote(comparison, labeler)
                fields = {"winner": winner, "side": "left" if winner else "", "grade": grade}
                Judgment.objects.filter(pk=said.pk).update(**fields)


def test_api_says_what_may_be_answered(project: Project, labeler: User, api: Api) -> None:
    Project.objects.update(allows_equal=True, languages=["en", "ko"])
    told = api(labeler).get(f"/api/v1/projects/{project.slug}/").json()
    assert told["choices"][3:] == ["unsure", "right_negligibly", "right_slightly", "right_significantly", "equal"]
    assert (told["scale"], told["allows_both_bad"], told["shows_lengths"]) == ("three", False, False)
    assert told["languages"] == ["en", "ko"]


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
