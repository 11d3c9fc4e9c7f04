"""A dataset version whose votes are weighed by the reliability of their labelers."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest
from django.contrib.auth.models import User

from annotate.exporting.aggregate import Vote, aggregate_votes
from annotate.exporting.rule import Aggregation, DatasetRule
from annotate.models import Comparison, DatasetVersion, Project
from annotate.services.datasets import CARD_NAME, build_dataset_version, freeze_dataset, preview_dataset
from annotate.services.work_here import do_work_here
from tests.annotate.votes import vote
from tests.conftest import MakeComparison

RULE = DatasetRule(aggregation=Aggregation.WEIGHED, eval_share=0.0)


@pytest.fixture
def crowd(db: None) -> list[User]:
    """Three who agree, and two who say the opposite."""
    return [User.objects.create_user(name) for name in ("ann", "ben", "cho", "dee", "zoe")]


@pytest.fixture
def judged(make_comparison: MakeComparison, crowd: list[User]) -> list[Comparison]:
    """Twelve pairs, a better in the even ones, judged by all; then one that ann alone says a of, dee and zoe b."""
    pairs = [make_comparison(need=5) for _ in range(13)]
    for number, pair in enumerate(pairs[:12]):
        for labeler in crowd:
            truth, lie = "ab" if number % 2 == 0 else "ba"
            vote(pair, labeler, truth if labeler in crowd[:3] else lie)
    for labeler, winner in zip((crowd[0], crowd[3], crowd[4]), "abb", strict=True):
        vote(pairs[12], labeler, winner, "significantly" if winner == "a" else "slightly")
    return pairs


def freeze(project: Project, admin: User, rule: DatasetRule = RULE) -> DatasetVersion:
    return do_work_here(lambda: freeze_dataset(project=project, rule=rule, by=admin), build_dataset_version)


def read_rows(path: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_the_likelier_side_wins_against_the_majority(project: Project, admin: User, judged: list[Comparison]) -> None:
    rows = {row["comparison_id"]: row for row in read_rows(freeze(project, admin).train_path)}
    last = rows[judged[12].pk]
    assert last["chosen_response_id"] == judged[12].response_a_id
    assert last["votes"] == 3 and last["votes_for"] == 1 and last["grade"] == "significantly"
    assert 0.9 < float(str(last["soft_label"])) < 1.0
    for row in rows.values():
        assert float(str(row["weight"])) == pytest.approx(2 * float(str(row["soft_label"])) - 1, abs=1e-5)


def test_the_card_records_the_weights_without_names_and_twice_the_same(
    project: Project, admin: User, judged: list[Comparison], crowd: list[User]
) -> None:
    one, two = freeze(project, admin), freeze(project, admin)
    assert one.train_sha256 == two.train_sha256
    card = (one.folder / CARD_NAME).read_text()
    assert "## Weights of labelers" in card and "`soft_label`" in card and "  - name: weight" in card
    assert f"| {crowd[4].pk} | 13 | 0." in card and "zoe" not in card


def test_only_weighed_versions_have_the_columns(project: Project, admin: User, judged: list[Comparison]) -> None:
    version = freeze(project, admin, DatasetRule(eval_share=0.0))
    assert not {"soft_label", "weight"} & set(read_rows(version.train_path)[0])
    assert "soft_label" not in (version.folder / CARD_NAME).read_text()


def test_votes_that_the_rule_sets_aside_are_not_weighed(
    project: Project, admin: User, judged: list[Comparison], crowd: list[User]
) -> None:
    rule = DatasetRule(aggregation=Aggregation.WEIGHED, eval_share=0.0, left_out_labelers=(crowd[3].pk, crowd[4].pk))
    rows = read_rows(freeze(project, admin, rule).train_path)
    assert {row["votes"] for row in rows} == {3, 1}
    assert json.dumps(preview_dataset(project=project, rule=rule).tally.as_json())


@pytest.mark.parametrize(
    ("said", "probability", "winner", "reason"),
    [
        ("abb", 0.9, "a", ""),
        ("aab", 0.2, "b", ""),
        ("ab", 0.5, "", "tie"),
        ("bb", 0.8, "", "unreliable"),
        ("??", 0.5, "", "unsure"),
    ],
)
def test_what_a_probability_makes_of_votes(said: str, probability: float, winner: str, reason: str) -> None:
    votes = [
        Vote(number, number, "" if word == "?" else word, "unsure" if word == "?" else "slightly", "a")
        for number, word in enumerate(said, start=1)
    ]
    outcome = aggregate_votes(votes, RULE, probability)
    assert outcome.reason == reason
    assert [verdict.winner for verdict in outcome.verdicts] == ([winner] if winner else [])
    for verdict in outcome.verdicts:
        assert verdict.probability == max(probability, 1 - probability)
