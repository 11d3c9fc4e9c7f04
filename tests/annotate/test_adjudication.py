"""Adjudication: blind first, then with the votes; what it does to datasets; and that nothing of it is ever changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.exporting.aggregate import LEFT_OUT_LABELS
from annotate.exporting.rule import Aggregation, DatasetRule
from annotate.models import (
    Adjudication,
    AuditEvent,
    BlindAnswer,
    Choice,
    Comparison,
    DatasetVersion,
    Flag,
    Judgment,
    Project,
)
from annotate.selectors.quality import measure_quality
from annotate.selectors.review import describe_review, see_pair
from annotate.selectors.review_queue import Kind, Wanted, list_rows
from annotate.selectors.votes import list_versions_with
from annotate.services.adjudication import DecidedMeanwhileError, NotBlindYetError, adjudicate, answer_blind
from annotate.services.answers import AnswerRefusedError
from annotate.services.assignments import next_comparison
from annotate.services.datasets import build_dataset_version, freeze_dataset, preview_dataset
from annotate.services.work_here import do_work_here
from models_registry.models import WorkState
from tests.annotate.votes import vote
from tests.conftest import MakeComparison
from tests.e2e.house import read_jsonl

SignIn = Callable[[User], Client]
Api = Callable[[User], APIClient]


@pytest.fixture
def pair(comparisons: list[Comparison], labeler: User, teammate: User) -> Comparison:
    """A pair on which two votes differ."""
    vote(comparisons[0], labeler, "a", rationale="Because of the eggs.")
    vote(comparisons[0], teammate, "b", "significantly")
    return comparisons[0]


def name_side(comparison: Comparison, reviewer: User, winner: str, grade: str = "slightly") -> Choice:
    left = see_pair(comparison, reviewer).left_response
    return Choice(f"{'left' if winner == left else 'right'}_{grade}")


def decide(comparison: Comparison, reviewer: User, winner: str | None, grade: str = "slightly") -> Adjudication:
    """A reviewer answers blind and then decides: for a winner, without a side (empty), or drops the pair (None)."""
    choice = name_side(comparison, reviewer, winner, grade) if winner else Choice(grade) if winner == "" else None
    answer_blind(reviewer=reviewer, comparison=comparison, choice=choice or Choice.UNSURE)
    standing = comparison.adjudications.filter(superseded_by=None).first()
    return adjudicate(reviewer=reviewer, comparison=comparison, choice=choice, seen=standing.pk if standing else None)


def freeze(project: Project, admin: User, **rule: object) -> tuple[DatasetVersion, list[dict[str, object]]]:
    values = DatasetRule(**({"eval_share": 0.0} | rule))  # type: ignore[arg-type]
    version = do_work_here(lambda: freeze_dataset(project=project, rule=values, by=admin), build_dataset_version)
    assert version.state == WorkState.FINISHED
    return version, read_jsonl(version.train_path)


# -- Blind first ------------------------------------------------------------------------------------------------------


def test_nobody_decides_before_they_answered_blind(pair: Comparison, reviewer: User) -> None:
    with pytest.raises(NotBlindYetError):
        adjudicate(reviewer=reviewer, comparison=pair, choice=Choice.UNSURE)
    assert not Adjudication.objects.exists()


def test_the_page_tells_nothing_before_the_blind_answer(pair: Comparison, reviewer: User, sign_in: SignIn) -> None:
    Flag.objects.create(
        comparison=pair, labeler=pair.project.members.get(username="teammate"), reason="other", note="Hm"
    )
    page = sign_in(reviewer)
    address = reverse("review_pair", args=[pair.pk])
    before = page.get(address).content.decode()
    secrets = ["labeler", "teammate", "Because of the eggs.", "secret-origin", "Hm</span>", "Decide"]
    assert pair.response_a.text in before and pair.response_b.text in before
    assert [secret for secret in secrets if secret in before.split("<main")[1]] == []
    refused = page.post(reverse("review_decide", args=[pair.pk]), {"choice": "unsure"})
    assert refused.status_code == 422 and "Because of the eggs." not in refused.content.decode()
    assert page.post(address, {}).status_code == 422
    answered = page.post(address, {"choice": "unsure", "seconds": "2.5"}, follow=True).content.decode()
    assert all(secret in answered for secret in ["labeler", "teammate", "Because of the eggs.", "Hm</span>", "Decide"])
    assert "secret-origin" not in answered
    blind = BlindAnswer.objects.get()
    assert (blind.grade, blind.winner, blind.seconds) == ("unsure", "", 2.5)


def test_sides_are_the_reviewers_own_and_stay(comparisons: list[Comparison], reviewer: User, admin: User) -> None:
    for comparison in comparisons:
        view = see_pair(comparison, reviewer)
        answer_blind(reviewer=reviewer, comparison=comparison, choice=Choice.LEFT_SLIGHTLY)
        stored = BlindAnswer.objects.get(comparison=comparison)
        assert (stored.seed, stored.left_response, stored.winner) == (view.seed, view.left_response, view.left_response)
    drawn = {see_pair(Comparison(pk=number), user).left_response for number in range(20) for user in (reviewer, admin)}
    assert drawn == {"a", "b"}


def test_the_first_blind_answer_stands(pair: Comparison, reviewer: User) -> None:
    first = answer_blind(reviewer=reviewer, comparison=pair, choice=Choice.LEFT_SLIGHTLY)
    assert answer_blind(reviewer=reviewer, comparison=pair, choice=Choice.RIGHT_SLIGHTLY) == first
    assert BlindAnswer.objects.get().grade == "slightly"


def test_the_projects_answers_alone_are_taken(pair: Comparison, reviewer: User) -> None:
    with pytest.raises(AnswerRefusedError, match="does not offer"):
        answer_blind(reviewer=reviewer, comparison=pair, choice=Choice.EQUAL)
    pair.project.rationale = "required"
    with pytest.raises(AnswerRefusedError, match="why"):
        answer_blind(reviewer=reviewer, comparison=pair, choice=Choice.UNSURE)
    answer_blind(reviewer=reviewer, comparison=pair, choice=Choice.UNSURE, rationale="Both burn.")
    with pytest.raises(AnswerRefusedError, match="does not offer"):
        adjudicate(reviewer=reviewer, comparison=pair, choice=Choice.BOTH_BAD)


def test_a_vote_given_as_a_labeler_is_the_blind_answer(pair: Comparison, reviewer: User) -> None:
    own = vote(pair, reviewer, "b", "negligibly")
    review = describe_review(pair, reviewer)
    assert review.is_open and review.was_vote and review.blind_choice == Choice.RIGHT_NEGLIGIBLY
    ruling = adjudicate(reviewer=reviewer, comparison=pair, choice=Choice.RIGHT_SLIGHTLY)
    assert (ruling.vote, ruling.blind, ruling.winner) == (own, None, "b")


# -- Decisions --------------------------------------------------------------------------------------------------------


def test_a_revision_is_a_row_of_its_own(pair: Comparison, reviewer: User, admin: User) -> None:
    first = decide(pair, reviewer, "a")
    assert adjudicate(reviewer=reviewer, comparison=pair, choice=first.choice) == first
    answer_blind(reviewer=admin, comparison=pair, choice=Choice.UNSURE)
    with pytest.raises(DecidedMeanwhileError):
        adjudicate(reviewer=admin, comparison=pair, choice=None)
    second = adjudicate(reviewer=admin, comparison=pair, choice=None, seen=first.pk)
    assert second.supersedes == first and second.dropped
    assert [event.after for event in AuditEvent.objects.filter(action="adjudicated").order_by("pk")] == [
        {"dropped": False, "winner": "a", "grade": "slightly"},
        {"dropped": True, "winner": "", "grade": ""},
    ]


def test_the_database_refuses_to_change_what_was_said(pair: Comparison, reviewer: User) -> None:
    decide(pair, reviewer, "a")
    for rows in (Adjudication.objects.all(), BlindAnswer.objects.all()):
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
            rows.update(grade="unsure", winner="")


def test_a_decided_pair_leaves_the_queue_and_asks_for_no_more_votes(
    project: Project, make_comparison: MakeComparison, labeler: User, teammate: User, reviewer: User
) -> None:
    pair = make_comparison(need=3)
    assignment = next_comparison(labeler=labeler, project=project)
    assert assignment and assignment.comparison == pair
    decide(pair, reviewer, "a")
    assert next_comparison(labeler=teammate, project=project) is None
    assert list_rows(project, Kind.DECIDED, Wanted()).count() == 1


def test_flags_are_dealt_with_on_the_way(pair: Comparison, reviewer: User, labeler: User) -> None:
    flag = Flag.objects.create(comparison=pair, labeler=labeler, reason="broken")
    answer_blind(reviewer=reviewer, comparison=pair, choice=Choice.UNSURE)
    adjudicate(reviewer=reviewer, comparison=pair, choice=None, resolves_flags=True)
    flag.refresh_from_db()
    assert flag.resolved_by == reviewer
    assert list_rows(pair.project, Kind.FLAG, Wanted()).count() == 0


# -- Datasets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggregation", Aggregation.values)
def test_a_decision_comes_before_every_rule(
    aggregation: str, project: Project, pair: Comparison, comparisons: list[Comparison], reviewer: User, admin: User
) -> None:
    vote(comparisons[1], admin, "a")
    Comparison.objects.filter(pk=comparisons[1].pk).update(recorded_winner="a")
    ruling = decide(pair, reviewer, "b", "negligibly")
    version, rows = freeze(project, admin, aggregation=aggregation, min_votes=1)
    row = next(row for row in rows if row["comparison_id"] == pair.pk)
    assert len(rows) == 2 and row["chosen_response_id"] == pair.response_b_id
    said = {name: row[name] for name in ("grade", "margin", "votes", "votes_for", "judgment_ids", "adjudication_id")}
    assert said == {
        "grade": "negligibly",
        "margin": 0.0,
        "votes": 1,
        "votes_for": 1,
        "judgment_ids": [],
        "adjudication_id": ruling.pk,
    }
    assert version.counts["adjudicated_rows"] == 1
    assert [use.adjudication for use in version.adjudications.all()] == [ruling]
    assert version in list_versions_with(pair)
    if aggregation == Aggregation.WEIGHED:
        assert (row["soft_label"], row["weight"]) == (1.0, 1.0)


@pytest.mark.parametrize(("winner", "grade", "reason"), [(None, "", "dropped"), ("", "unsure", "unsure")])
def test_dropped_and_sideless_pairs_are_left_out_and_counted(
    winner: str | None, grade: str, reason: str, pair: Comparison, comparisons: list[Comparison], reviewer: User
) -> None:
    decide(pair, reviewer, winner, grade or "slightly")
    tally = preview_dataset(project=pair.project, rule=DatasetRule(eval_share=0.0)).tally
    assert tally.left_out[reason] == 1 and tally.votes_left_out["adjudicated"] == 2
    assert reason in LEFT_OUT_LABELS


def test_a_version_counts_what_was_decided_when_it_was_frozen(
    project: Project, pair: Comparison, reviewer: User, admin: User
) -> None:
    first = decide(pair, reviewer, "a")
    version = freeze_dataset(project=project, rule=DatasetRule(eval_share=0.0), by=admin)
    decide(pair, admin, None)
    built = do_work_here(lambda: DatasetVersion.objects.get(pk=version.pk), build_dataset_version)
    assert [row["adjudication_id"] for row in read_jsonl(built.train_path)] == [first.pk]
    assert preview_dataset(project=project, rule=DatasetRule()).tally.left_out["dropped"] == 1


def test_a_decision_is_nobodys_vote(pair: Comparison, reviewer: User, admin: User) -> None:
    before = measure_quality(pair.project)
    decide(pair, reviewer, "a")
    assert measure_quality(pair.project) == before
    version, _rows = freeze(pair.project, admin)
    assert version.counts["mean_agreement"] is None and version.counts["labelers"] == 0
    assert Judgment.objects.count() == 2


# -- The API ----------------------------------------------------------------------------------------------------------


def test_the_same_through_the_api(pair: Comparison, reviewer: User, api: Api) -> None:
    client = api(reviewer)
    address = reverse("api_review", args=[pair.pk])
    seen = client.get(address).json()
    assert not seen["is_open"] and (seen["votes"], seen["flags"], seen["decisions"]) == ([], [], [])
    decision = reverse("api_review_decision", args=[pair.pk])
    assert client.post(decision, {"choice": "unsure"}).status_code == 409
    assert client.post(address, {"choice": "equal"}).status_code == 400
    opened = client.post(address, {"choice": "left_slightly"})
    assert opened.status_code == 201 and {row["labeler"] for row in opened.json()["votes"]} == {"labeler", "teammate"}
    waiting = reverse("api_review_queue", args=[pair.project.slug])
    assert client.get(waiting).json()["counts"] == {"conflict": 1, "flag": 0, "gold": 0, "decided": 0}
    assert client.get(waiting, {"search": pair.prompt.messages[0]["content"]}).json()["items"][0]["votes"] == 2
    assert client.get(waiting, {"labeler": "nobody"}).status_code == 400
    made = client.post(decision, {"choice": None, "note": "Cut off."})
    assert made.status_code == 201 and made.json()["dropped"]
    assert client.post(decision, {"choice": "unsure"}).status_code == 409
    assert client.get(waiting).json()["counts"] == {"conflict": 0, "flag": 0, "gold": 0, "decided": 1}
