"""Taking the last answer back: rule and API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.test import APIClient

from annotate.models import Assignment, Choice, Comparison, Judgment, Project, SkipReason
from annotate.selectors.progress import find_undoable, measure_progress
from annotate.services.assignments import next_comparison
from annotate.services.judgments import AnswerConflictError, UndoError, skip_comparison, submit_judgment, undo_judgment
from annotate.services.places import reap_expired
from tests.annotate.test_next_comparison import hand_out
from tests.conftest import MakeComparison

LATER = timedelta(seconds=settings.ASSIGNMENT_LEASE_SECONDS + 1)
Api = Callable[[User], APIClient]


def judge(labeler: User, project: Project, choice: Choice = Choice.UNSURE) -> Judgment:
    token = hand_out(labeler, project).token
    return submit_judgment(labeler=labeler, project=project, token=token, choice=choice)


def test_undo_hands_the_same_pair_out_again(project: Project, labeler: User, comparisons: list[Comparison]) -> None:
    vote = judge(labeler, project, Choice.LEFT_SLIGHTLY)
    again = undo_judgment(labeler=labeler, project=project)
    assert again.pk == vote.assignment_id
    assert again.token != vote.token
    assert (again.left_response, again.seed) == (vote.left_response, vote.seed)
    assert hand_out(labeler, project).token == again.token
    better = submit_judgment(labeler=labeler, project=project, token=again.token, choice=Choice.RIGHT_SLIGHTLY)
    undo = Judgment.objects.get(action="undo")
    assert (undo.supersedes, better.supersedes) == (vote, undo)
    assert [row.choice for row in Judgment.objects.filter(action="vote", superseded_by=None)] == ["right_slightly"]
    assert [one.taken for one in Comparison.objects.order_by("pk")] == [1, 0, 0, 0]


def test_the_pair_held_meanwhile_returns_to_the_others(
    project: Project, labeler: User, teammate: User, comparisons: list[Comparison]
) -> None:
    judge(labeler, project)
    held = hand_out(labeler, project)
    undo_judgment(labeler=labeler, project=project)
    assert hand_out(teammate, project).comparison == held.comparison
    # An answer to it, sent by another tab, is kept all the same.
    assert submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE).surplus


def test_undo_after_undo_walks_back(project: Project, labeler: User, comparisons: list[Comparison]) -> None:
    votes = [judge(labeler, project) for _number in range(3)]
    for vote in reversed(votes):
        assert undo_judgment(labeler=labeler, project=project).comparison_id == vote.comparison_id
    with pytest.raises(UndoError, match="no answer of yours"):
        undo_judgment(labeler=labeler, project=project)
    assert measure_progress(project, labeler).done_by_me == 0
    assert sum(Comparison.objects.values_list("taken", flat=True)) == 1
    assert {judge(labeler, project).comparison_id for _vote in votes} == {vote.comparison_id for vote in votes}


def test_the_same_undo_twice_takes_back_one_answer(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    first, last = judge(labeler, project), judge(labeler, project)
    one = undo_judgment(labeler=labeler, project=project, token=last.token)
    again = undo_judgment(labeler=labeler, project=project, token=last.token)
    assert (one.pk, one.token) == (again.pk, again.token)
    assert find_undoable(project, labeler) == first
    with pytest.raises(UndoError, match="no longer your last"):
        undo_judgment(labeler=labeler, project=project, token=hand_out(labeler, project).token)


def test_only_ones_own_answers(project: Project, labeler: User, teammate: User, comparisons: list[Comparison]) -> None:
    vote = judge(labeler, project)
    for token in (None, vote.token):
        with pytest.raises(UndoError):
            undo_judgment(labeler=teammate, project=project, token=token)
    assert find_undoable(project, labeler) == vote


def test_undo_of_a_skip_takes_a_place_again(project: Project, labeler: User, comparisons: list[Comparison]) -> None:
    held = hand_out(labeler, project)
    skip_comparison(labeler=labeler, project=project, token=held.token, reason=SkipReason.UNFIT)
    again = undo_judgment(labeler=labeler, project=project)
    assert again.pk == held.pk
    assert (again.holds_place, again.comparison.taken) == (True, 1)


def test_undo_of_a_skip_whose_place_is_gone_makes_a_surplus_vote(
    project: Project, labeler: User, teammate: User, make_comparison: MakeComparison
) -> None:
    only = make_comparison()
    held = hand_out(labeler, project)
    skip_comparison(labeler=labeler, project=project, token=held.token, reason=SkipReason.UNFIT)
    judge(teammate, project)
    again = undo_judgment(labeler=labeler, project=project)
    assert not again.holds_place
    assert submit_judgment(labeler=labeler, project=project, token=again.token, choice=Choice.UNSURE).surplus
    only.refresh_from_db()
    assert only.taken == 1


def test_a_lease_given_by_undo_ends_like_any_other(
    project: Project, labeler: User, teammate: User, make_comparison: MakeComparison
) -> None:
    only = make_comparison()
    judge(labeler, project)
    undo_judgment(labeler=labeler, project=project)
    reap_expired(now=timezone.now() + LATER)
    assert hand_out(teammate, project).comparison == only
    assert next_comparison(labeler=labeler, project=project) is None
    assert Assignment.objects.filter(holds_place=True).count() == 1


def test_an_answer_taken_back_does_not_come_to_life_by_a_retry(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    vote = judge(labeler, project, Choice.LEFT_SLIGHTLY)
    undo_judgment(labeler=labeler, project=project)
    for choice in (Choice.LEFT_SLIGHTLY, Choice.RIGHT_SLIGHTLY):
        with pytest.raises(AnswerConflictError, match="taken back meanwhile"):
            submit_judgment(labeler=labeler, project=project, token=vote.token, choice=choice)
    assert not Judgment.objects.filter(action="vote", superseded_by=None).exists()


def test_a_skip_taken_back_does_not_come_to_life_by_a_retry(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    held = hand_out(labeler, project)
    skip_comparison(labeler=labeler, project=project, token=held.token, reason=SkipReason.UNFIT)
    undo_judgment(labeler=labeler, project=project)
    with pytest.raises(AnswerConflictError, match="taken back meanwhile"):
        skip_comparison(labeler=labeler, project=project, token=held.token, reason=SkipReason.UNFIT)


def test_api_says_what_stands(project: Project, labeler: User, comparisons: list[Comparison], api: Api) -> None:
    client, url = api(labeler), f"/api/v1/projects/{project.slug}/judgments/"
    answer = {"token": str(hand_out(labeler, project).token), "choice": "unsure"}
    for _time in range(2):
        assert client.post(url, answer).json()["stands"] is True
    undo_judgment(labeler=labeler, project=project)
    refused = client.post(url, answer)
    assert refused.status_code == 409 and "taken back meanwhile" in refused.json()["detail"]
    assert [(row["action"], row["stands"]) for row in client.get(url).json()["results"]] == [
        ("undo", True),
        ("vote", False),
    ]


def test_api_undoes(project: Project, labeler: User, comparisons: list[Comparison], api: Api) -> None:
    vote = judge(labeler, project)
    client = api(labeler)
    address = f"/api/v1/projects/{project.slug}/judgments/undo/"
    answer = client.post(address, {"token": str(vote.token)})
    assert answer.status_code == 200
    assert Assignment.objects.get(token=answer.json()["pair"]["token"]).comparison_id == vote.comparison_id
    assert client.post(address, {"token": str(vote.token)}).json()["pair"] == answer.json()["pair"]
    nothing = client.post(address, {})
    assert nothing.status_code == 409
    assert "no answer of yours" in nothing.json()["detail"]
