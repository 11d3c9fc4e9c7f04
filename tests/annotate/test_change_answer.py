"""Changing an earlier answer until a dataset version was made with it: rule, page and API."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from annotate.models import (
    Assignment,
    Choice,
    Comparison,
    DatasetVersionJudgment,
    GuidelineVersion,
    Judgment,
    Project,
    SkipReason,
)
from annotate.selectors.progress import measure_progress
from annotate.services.changes import reopen_answer
from annotate.services.flags import flag_comparison
from annotate.services.frozen import FrozenAnswerError
from annotate.services.guidelines import GuidelinesUnreadError
from annotate.services.judgments import (
    AnswerConflictError,
    UnknownTokenError,
    skip_comparison,
    submit_judgment,
    undo_judgment,
)
from annotate.services.places import reap_expired
from models_registry.models import WorkState
from tests.annotate.test_next_comparison import hand_out
from tests.annotate.test_undo import judge
from tests.conftest import MakeComparison
from tests.scenery import make_dataset

SignIn = Callable[[User], Client]
Api = Callable[[User], APIClient]
LATER = timedelta(seconds=settings.ASSIGNMENT_LEASE_SECONDS + 1)


def freeze(judgment: Judgment, number: int = 3) -> None:
    version = make_dataset(judgment.project, number)
    DatasetVersionJudgment.objects.create(dataset_version=version, judgment=judgment, split="train")


def list_standing(labeler: User) -> list[str]:
    rows = Judgment.objects.filter(labeler=labeler, superseded_by=None).exclude(action="undo").order_by("pk")
    return [row.choice or "skip" for row in rows]


def test_a_change_takes_the_place_of_the_answer_and_leaves_the_pair_held(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    first, second = judge(labeler, project, Choice.LEFT_SLIGHTLY), judge(labeler, project)
    held = hand_out(labeler, project)
    again = reopen_answer(labeler=labeler, project=project, token=first.token)
    assert again.pk == first.assignment_id
    assert (again.left_response, again.seed) == (first.left_response, first.seed)
    new = submit_judgment(labeler=labeler, project=project, token=again.token, choice=Choice.RIGHT_SLIGHTLY)
    assert (new.supersedes, new.surplus) == (first, False)
    assert list_standing(labeler) == ["unsure", "right_slightly"]
    assert hand_out(labeler, project).token == held.token
    assert measure_progress(project, labeler).done_by_me == 2
    assert [one.taken for one in Comparison.objects.order_by("pk")] == [1, 1, 1, 0]
    assert second.assignment.judgments.count() == 1


def test_until_the_new_answer_is_in_the_old_one_stands_however_long_it_takes(
    project: Project, labeler: User, teammate: User, make_comparison: MakeComparison
) -> None:
    only = make_comparison()
    vote = judge(labeler, project, Choice.LEFT_SLIGHTLY)
    again = reopen_answer(labeler=labeler, project=project, token=vote.token)
    reap_expired(now=timezone.now() + 100 * LATER)
    only.refresh_from_db()
    assert (list_standing(labeler), only.taken) == (["left_slightly"], 1)
    assert Assignment.objects.get().state == Assignment.State.DONE
    late = submit_judgment(
        labeler=labeler,
        project=project,
        token=again.token,
        choice=Choice.UNSURE,
        seconds=4.0,
        now=timezone.now() + 100 * LATER,
    )
    assert (late.surplus, late.seconds, list_standing(labeler)) == (False, 4.0, ["unsure"])


def test_the_time_of_a_change_counts_from_its_reopening(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    vote = judge(labeler, project)
    reopened_at = timezone.now() + timedelta(days=3)
    again = reopen_answer(labeler=labeler, project=project, token=vote.token, now=reopened_at)
    now = reopened_at + timedelta(seconds=7)
    new = submit_judgment(labeler=labeler, project=project, token=again.token, choice=Choice.UNSURE, now=now)
    assert (new.shown_at, new.seconds) == (reopened_at, 7.0)


def test_reopened_twice_it_has_one_token_and_a_retry_is_stored_once(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    vote = judge(labeler, project)
    tabs = [reopen_answer(labeler=labeler, project=project, token=vote.token).token for _tab in range(2)]
    assert tabs[0] == tabs[1] != vote.token
    give = {"labeler": labeler, "project": project, "token": tabs[0], "choice": Choice.LEFT_NEGLIGIBLY}
    assert submit_judgment(**give) == submit_judgment(**give)  # type: ignore[arg-type]
    assert Judgment.objects.count() == 2
    with pytest.raises(AnswerConflictError, match="the first answer stands"):
        submit_judgment(**give | {"choice": Choice.UNSURE})  # type: ignore[arg-type]


def test_a_retry_of_the_changed_answer_does_not_come_to_life(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    vote = judge(labeler, project, Choice.LEFT_SLIGHTLY)
    again = reopen_answer(labeler=labeler, project=project, token=vote.token)
    # Before the change a lost receipt is asked for as ever.
    give = {"labeler": labeler, "project": project, "token": vote.token, "choice": Choice.LEFT_SLIGHTLY}
    assert submit_judgment(**give) == vote  # type: ignore[arg-type]
    submit_judgment(labeler=labeler, project=project, token=again.token, choice=Choice.UNSURE)
    with pytest.raises(AnswerConflictError, match="the change stands"):
        submit_judgment(**give)  # type: ignore[arg-type]
    with pytest.raises(AnswerConflictError, match="changed or taken back"):
        reopen_answer(labeler=labeler, project=project, token=vote.token)


def test_a_vote_becomes_a_skip_and_frees_its_place_and_the_other_way_round(
    project: Project, labeler: User, teammate: User, make_comparison: MakeComparison
) -> None:
    only = make_comparison()
    vote = judge(labeler, project)
    again = reopen_answer(labeler=labeler, project=project, token=vote.token)
    skip = skip_comparison(labeler=labeler, project=project, token=again.token, reason=SkipReason.UNFIT)
    only.refresh_from_db()
    assert (skip.supersedes, only.taken, list_standing(labeler)) == (vote, 0, ["skip"])
    once_more = reopen_answer(labeler=labeler, project=project, token=skip.token)
    judge(teammate, project)  # takes the place meanwhile
    late = submit_judgment(labeler=labeler, project=project, token=once_more.token, choice=Choice.UNSURE)
    assert (late.supersedes, late.surplus) == (skip, True)


def test_a_change_can_ask_for_one_more_vote(
    project: Project, labeler: User, teammate: User, make_comparison: MakeComparison
) -> None:
    project.max_votes = 3
    project.save()
    only = make_comparison(need=2)
    judge(teammate, project)
    vote = judge(labeler, project, Choice.UNSURE)
    Judgment.objects.filter(labeler=teammate).update(grade="slightly", side="left", winner="a")
    again = reopen_answer(labeler=labeler, project=project, token=vote.token)
    side = "right" if again.left_response == "a" else "left"
    submit_judgment(labeler=labeler, project=project, token=again.token, choice=Choice(f"{side}_slightly"))
    only.refresh_from_db()
    assert (only.need, only.taken) == (3, 2)


def test_an_undo_of_an_answer_that_is_being_changed_keeps_its_new_token(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    vote = judge(labeler, project)
    again = reopen_answer(labeler=labeler, project=project, token=vote.token)
    assert undo_judgment(labeler=labeler, project=project).token == again.token
    submit_judgment(labeler=labeler, project=project, token=again.token, choice=Choice.LEFT_SLIGHTLY)
    assert list_standing(labeler) == ["left_slightly"]


def test_what_a_version_was_made_of_is_neither_changed_nor_undone(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    vote = judge(labeler, project)
    again = reopen_answer(labeler=labeler, project=project, token=vote.token)
    freeze(vote)
    refused = pytest.raises(FrozenAnswerError, match="Dataset version 3 was made with this answer")
    with refused:
        reopen_answer(labeler=labeler, project=project, token=vote.token)
    with refused:
        submit_judgment(labeler=labeler, project=project, token=again.token, choice=Choice.LEFT_SLIGHTLY)
    with refused:
        skip_comparison(labeler=labeler, project=project, token=again.token, reason=SkipReason.OTHER)
    with refused:
        undo_judgment(labeler=labeler, project=project)
    assert (Judgment.objects.get(), Assignment.objects.get().state) == (vote, "done")


def test_while_a_version_is_being_made_what_it_counts_waits(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    vote = judge(labeler, project)
    version = make_dataset(project, state=WorkState.QUEUED, judgment_cutoff=vote.pk)
    later = judge(labeler, project)
    with pytest.raises(FrozenAnswerError, match="just being made"):
        reopen_answer(labeler=labeler, project=project, token=vote.token)
    assert reopen_answer(labeler=labeler, project=project, token=later.token)
    version.state = WorkState.FAILED
    version.save()
    assert reopen_answer(labeler=labeler, project=project, token=vote.token)


def test_only_ones_own_answers_that_stand(
    project: Project, labeler: User, teammate: User, comparisons: list[Comparison]
) -> None:
    vote = judge(labeler, project)
    for user, token in ((teammate, vote.token), (labeler, uuid.uuid4()), (labeler, hand_out(labeler, project).token)):
        with pytest.raises(UnknownTokenError):
            reopen_answer(labeler=user, project=project, token=token)
    undo_judgment(labeler=labeler, project=project)
    with pytest.raises(UnknownTokenError):
        reopen_answer(labeler=labeler, project=project, token=Judgment.objects.get(action="undo").token)


def test_newer_guidelines_are_read_first(
    project: Project, labeler: User, admin: User, comparisons: list[Comparison], sign_in: SignIn
) -> None:
    vote = judge(labeler, project)
    GuidelineVersion.objects.create(project=project, number=1, text="New.", created_by=admin)
    with pytest.raises(GuidelinesUnreadError):
        reopen_answer(labeler=labeler, project=project, token=vote.token)
    address = f"/projects/{project.slug}/compare/"
    assert sign_in(labeler).post(f"{address}answers/{vote.token}/")["Location"] == address


def test_page_shows_the_pair_again_with_what_was_said(
    project: Project, labeler: User, comparisons: list[Comparison], sign_in: SignIn
) -> None:
    vote = judge(labeler, project, Choice.LEFT_SLIGHTLY)
    client, address = sign_in(labeler), f"/projects/{project.slug}/compare/"
    change = f"{address}answers/{vote.token}/"
    assert client.get(change)["Location"] == f"{address}answers/"  # nothing is reopened by looking
    assert client.post(change)["Location"] == change
    page = client.get(change).content.decode()
    assert "Question 1?" in page and "left_slightly" in page.split("data-begun=")[1][:60]
    token = Assignment.objects.get(comparison=vote.comparison).token
    refused = client.post(address, {"token": token}, headers={"HX-Request": "true"})
    assert refused.status_code == 422
    assert "Question 1?" in refused.content.decode()  # and not the next pair
    done = client.post(address, {"token": token, "choice": "unsure"}, headers={"HX-Request": "true"}).content.decode()
    assert "Your answer is changed." in done and "Question 2?" in done
    assert client.get(change)["Location"] == f"{address}answers/"
    assert list_standing(labeler) == ["unsure"]


def test_page_says_in_which_version_an_answer_is(
    project: Project, labeler: User, comparisons: list[Comparison], sign_in: SignIn
) -> None:
    vote = judge(labeler, project)
    freeze(vote)
    client = sign_in(labeler)
    page = client.get(f"/projects/{project.slug}/compare/answers/").content.decode()
    assert "In dataset version 3; it can no longer be changed." in page and ">Change<" not in page
    told = client.post(f"/projects/{project.slug}/compare/answers/{vote.token}/", follow=True)
    assert "Dataset version 3 was made with this answer" in told.content.decode()


def test_a_flag_while_changing_leaves_the_pair_on_the_page(
    project: Project, labeler: User, comparisons: list[Comparison], sign_in: SignIn
) -> None:
    vote = judge(labeler, project)
    again = reopen_answer(labeler=labeler, project=project, token=vote.token)
    client, address = sign_in(labeler), f"/projects/{project.slug}/compare/"
    payload = {"token": again.token, "reason": "other"}
    assert "Question 1?" in client.post(f"{address}flag/", payload, headers={"HX-Request": "true"}).content.decode()
    assert client.post(f"{address}flag/", payload)["Location"] == f"{address}answers/{vote.token}/"
    assert flag_comparison(labeler=labeler, project=project, token=again.token, reason="other")  # type: ignore[arg-type]


def test_api_changes_an_answer(project: Project, labeler: User, comparisons: list[Comparison], api: Api) -> None:
    client, address = api(labeler), f"/api/v1/projects/{project.slug}/"
    vote = judge(labeler, project, Choice.LEFT_SLIGHTLY)
    pair = client.post(f"{address}answers/{vote.token}/change/")
    assert pair.status_code == 200
    assert Assignment.objects.get(token=pair.json()["token"]).comparison_id == vote.comparison_id
    new = client.post(f"{address}judgments/", {"token": pair.json()["token"], "choice": "unsure"})
    assert (new.status_code, new.json()["supersedes"]) == (201, vote.pk)
    assert client.post(f"{address}answers/{vote.token}/change/").status_code == 409
    freeze(Judgment.objects.get(pk=new.json()["id"]))
    refused = client.post(f"{address}answers/{new.json()['token']}/change/")
    assert refused.status_code == 409 and "version 3" in refused.json()["detail"]
