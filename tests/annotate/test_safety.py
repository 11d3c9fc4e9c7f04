"""Which responses are safe: asked with each vote, asked again on a contradiction, put together, left out, counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from annotate.exporting.aggregate import Ruling, Vote, aggregate_votes, merge_safety, take_ruling
from annotate.exporting.rule import DatasetRule
from annotate.models import Assignment, Choice, Comparison, Judgment, Project, Safety
from annotate.models.answers import contradicts
from annotate.selectors.safety import measure_safety
from annotate.services.answers import AnswerRefusedError
from annotate.services.datasets import build_dataset_version, freeze_dataset, preview_dataset
from annotate.services.judgments import AnswerConflictError, submit_judgment, undo_judgment
from annotate.services.work_here import do_work_here
from tests.annotate.test_next_comparison import hand_out
from tests.annotate.votes import vote
from tests.conftest import MakeComparison

Say = Callable[..., Judgment]


@pytest.fixture
def asking(project: Project, comparisons: list[Comparison]) -> Project:
    """A project that asks which responses are safe, with four comparisons."""
    project.asks_safety = True
    project.save()
    return project


@pytest.fixture
def shown(asking: Project, labeler: User) -> Assignment:
    """The labeler's pair, response b on the left."""
    assignment = hand_out(labeler, asking)
    Assignment.objects.filter(pk=assignment.pk).update(left_response="b")
    assignment.refresh_from_db()
    return assignment


@pytest.fixture
def say(asking: Project, labeler: User, shown: Assignment) -> Say:
    def say(choice: Choice = Choice.LEFT_SLIGHTLY, safety: str = "both", **fields: Any) -> Judgment:
        return submit_judgment(
            labeler=labeler, project=asking, token=shown.token, choice=choice, safety=safety, **fields
        )

    return say


@pytest.mark.parametrize(("safety", "safe"), [("both", "both"), ("left", "b"), ("right", "a"), ("neither", "neither")])
def test_what_was_said_by_sides_is_stored_by_responses_and_read_by_sides(say: Say, safety: str, safe: str) -> None:
    said = say(Choice.UNSURE, safety)
    assert (said.safe, said.safety) == (safe, safety)
    assert said.get_safety_display() == str(Safety(safety).label)


@pytest.mark.parametrize("choice", [Choice.LEFT_SLIGHTLY, Choice.UNSURE])
def test_every_vote_says_which_are_safe(say: Say, choice: Choice) -> None:
    with pytest.raises(AnswerRefusedError, match="which responses are safe") as refused:
        say(choice, "")
    assert refused.value.field == "safety" and not Judgment.objects.exists()


def test_a_project_that_does_not_ask_takes_no_such_answer(asking: Project, say: Say) -> None:
    asking.asks_safety = False
    with pytest.raises(AnswerRefusedError, match="does not ask"):
        say()


def test_a_contradiction_is_asked_again_and_stored_once_it_is_confirmed(say: Say) -> None:
    with pytest.raises(AnswerRefusedError, match="Is that what you mean") as refused:
        say(Choice.LEFT_SLIGHTLY, "right")
    assert refused.value.field == "confirmed" and not Judgment.objects.exists()
    said = say(Choice.LEFT_SLIGHTLY, "right", confirmed=True)
    assert (said.winner, said.safe, said.is_contradiction) == ("b", "a", True)
    assert say(Choice.LEFT_SLIGHTLY, "right") == said  # a retry of the stored answer asks nothing again


def test_the_same_answer_is_one_and_another_bin_another_answer(say: Say) -> None:
    said = say(Choice.LEFT_SLIGHTLY, "left")
    assert say(Choice.LEFT_SLIGHTLY, "left") == said
    with pytest.raises(AnswerConflictError):
        say(Choice.LEFT_SLIGHTLY, "both")


def test_an_undo_brings_the_pair_back(say: Say, asking: Project, labeler: User) -> None:
    say()
    again = undo_judgment(labeler=labeler, project=asking)
    said = submit_judgment(
        labeler=labeler, project=asking, token=again.token, choice=Choice.LEFT_SLIGHTLY, safety="neither"
    )
    assert said.safe == "neither" and Judgment.objects.get(action="undo").safe == ""


def test_only_a_vote_says_what_is_safe(say: Say) -> None:
    said = say()
    with pytest.raises(IntegrityError), transaction.atomic():
        Judgment.objects.filter(pk=said.pk).update(action="skip", grade="", side="", winner="")


# -- Put together -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "safe"),
    [
        ([], ""),
        ([""], ""),
        (["both"], "both"),
        (["a"], "a"),
        (["both", "a", "neither"], "a"),
        (["both", "both", "neither"], "both"),
        (["a", "b"], "neither"),  # one of two for each: a tie is unsafe
        (["both", "neither"], "neither"),
        (["both", "b"], "b"),
        (["a", "b", "both"], "both"),
        (["both", "", "a"], "a"),
    ],
)
def test_the_majority_speaks_on_each_response(said: list[str], safe: str) -> None:
    assert merge_safety([cast("a", word, number) for number, word in enumerate(said)]) == safe


def cast(winner: str, safe: str, number: int = 0, **fields: Any) -> Vote:
    return Vote(number, 100 + number, winner, "slightly" if winner else "unsure", "a", safe=safe, **fields)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", ""]), st.sampled_from(["", "both", "a", "b", "neither"]))))
def test_no_row_prefers_an_unsafe_response_to_a_safe_one(said: list[tuple[str, str]]) -> None:
    votes = [cast(winner, safe, number) for number, (winner, safe) in enumerate(said)]
    for aggregation in ("majority", "unanimous", "single"):
        outcome = aggregate_votes(votes, DatasetRule(aggregation=aggregation))
        assert not any(contradicts(verdict.winner, verdict.safe) for verdict in outcome.verdicts)
        assert bool(outcome.verdicts) != bool(outcome.reason)
        # Every vote is either behind a row or counted with its reason.
        behind = sum(len(verdict.judgment_ids) for verdict in outcome.verdicts)
        assert behind + outcome.votes_left_out.total() == len(votes)


def test_the_verdict_is_judged_not_the_single_votes() -> None:
    votes = [cast("a", "b", 1), cast("a", "both", 2), cast("a", "both", 3)]
    (verdict,) = aggregate_votes(votes, DatasetRule()).verdicts
    assert verdict.safe == "both"
    single = aggregate_votes(votes, DatasetRule(aggregation="single"))
    assert len(single.verdicts) == 2 and single.votes_left_out == {"safety": 1}


def test_a_rewrite_of_what_was_preferred_although_unsafe_stays_out() -> None:
    votes = [cast("a", "b", 1, rewrite_id=7), cast("a", "a", 2, rewrite_id=8)]
    assert [vote.rewrite_id for vote in aggregate_votes(votes, DatasetRule()).rewrites] == [8]


def test_a_dataset_says_what_is_safe_and_leaves_contradictions_out(
    asking: Project,
    comparisons: list[Comparison],
    make_comparison: MakeComparison,
    labeler: User,
    settings: Any,
    tmp_path: Path,
) -> None:
    settings.DATA_DIR = tmp_path
    said = [("a", "both"), ("b", "b"), ("a", "neither"), ("a", "b")]
    for comparison, (winner, safe) in zip(comparisons, said, strict=True):
        vote(comparison, labeler, winner, safe=safe)
    vote(make_comparison(), labeler, "a")  # from before the project asked
    rule = DatasetRule(eval_share=0.0)
    version = do_work_here(
        lambda: freeze_dataset(project=asking, rule=rule, by=asking.created_by), build_dataset_version
    )
    rows = [orjson.loads(line) for line in version.train_path.read_bytes().splitlines()]
    assert [row["safety"] for row in rows] == ["both", "chosen", "neither", None]
    assert version.left_out == {"safety": 1} and version.counts["votes_left_out"] == {"safety": 1}
    assert version.counts["safety"] == {"both": 1, "chosen": 1, "neither": 1}
    card = (version.folder / "README.md").read_text()
    assert "the better response is unsafe while the other is safe: 1" in card and "| `safety` |" in card
    assert preview_dataset(project=asking, rule=rule).tally.left_out == {"safety": 1}


def test_shares_of_the_bins(asking: Project, comparisons: list[Comparison], labeler: User, teammate: User) -> None:
    assert measure_safety(asking) == []
    for comparison, winner, safe in zip(comparisons, ("a", "b", "a", ""), ("both", "b", "b", "a"), strict=True):
        vote(comparison, labeler, winner, safe=safe)
    vote(comparisons[0], teammate, "a")
    assert [(found.votes, found.share) for found in measure_safety(asking)] == [
        (1, 0.25),
        (1, 0.25),
        (0, 0.0),
        (1, 0.25),
        (1, 0.25),
    ]


# -- Page and API -----------------------------------------------------------------------------------------------------


def test_the_page_asks_and_asks_again(
    asking: Project, shown: Assignment, labeler: User, admin: User, sign_in: Callable[[User], Client]
) -> None:
    client, url = sign_in(labeler), "/projects/kitchen-help/compare/"
    page = client.get(url).content.decode()
    assert "Which responses are safe?" in page and 'name="confirmed"' not in page and 'id="key-safe_both"' in page
    answer = {"token": str(shown.token), "choice": "left_slightly"}
    assert "Say which responses are safe" in client.post(url, answer).content.decode()
    again = client.post(url, answer | {"safety": "right"})
    words = again.content.decode()
    assert again.status_code == 422 and "Is that what you mean?" in words and 'name="confirmed"' in words
    # What was said stays chosen, with or without a script.
    assert 'value="left_slightly" checked' in words and 'value="right" required checked' in words
    assert not Judgment.objects.exists()
    assert client.post(url, answer | {"safety": "right", "confirmed": "yes"}).status_code == 302
    said = Judgment.objects.get()
    assert "Only the right one is safe" in client.get("/projects/kitchen-help/compare/answers/").content.decode()
    seen = sign_in(admin).get(f"/comparisons/{said.comparison_id}/").content.decode()
    assert "Only the right one is safe" in seen
    assert "Only the worse one is safe" in client.get("/projects/kitchen-help/quality/").content.decode()


def test_a_page_that_does_not_ask_looks_as_before(
    project: Project, comparisons: list[Comparison], labeler: User, sign_in: Callable[[User], Client]
) -> None:
    page = sign_in(labeler).get("/projects/kitchen-help/compare/").content.decode()
    assert "safe" not in page.replace('rel="noopener"', "")


def test_the_api_asks_and_asks_again(
    asking: Project, shown: Assignment, labeler: User, admin: User, api: Callable[[User], APIClient]
) -> None:
    client, url = api(labeler), "/api/v1/projects/kitchen-help/judgments/"
    answer = {"token": str(shown.token), "choice": "left_slightly"}
    assert client.post(url, answer).json() == {"safety": ["Say which responses are safe."]}
    assert "safety" in client.post(url, answer | {"safety": "a"}).json()
    again = client.post(url, answer | {"safety": "right"})
    assert again.status_code == 400 and list(again.json()) == ["confirmed"]
    stored = client.post(url, answer | {"safety": "right", "confirmed": True})
    assert stored.status_code == 201 and stored.json()["safety"] == "right" and "safe" not in stored.json()
    assert api(admin).get(url).json()["results"][0]["safe"] == "a"


def test_a_ruling_is_held_against_what_the_votes_call_safe() -> None:
    votes = [cast("a", "b", 1), cast("a", "b", 2)]
    for winner, reason in (("a", "safety"), ("b", "")):
        outcome = take_ruling(Ruling(1, winner, "slightly", "a"), votes, DatasetRule())
        assert outcome.reason == reason and [verdict.safe for verdict in outcome.verdicts] == ["b"] * (not reason)
