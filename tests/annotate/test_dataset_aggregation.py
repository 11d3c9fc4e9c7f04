"""What the rule makes of the votes on one pair, worked by hand."""

from __future__ import annotations

import pytest

from annotate.exporting.aggregate import LEFT_OUT_LABELS, Vote, aggregate_votes, take_recorded
from annotate.exporting.rule import DatasetRule, RuleError, describe_rule


def votes(*said: str) -> list[Vote]:
    """votes("a+", "a", "b-", "?"): significantly, slightly, negligibly better, unsure; "!" after it: surplus.

    "a*" is better, "=" both equally good, "x" both bad.

    Every first, third, ... labeler saw response a on the left.
    """
    grades = {"+": "significantly", "*": "better", "": "slightly", "-": "negligibly"}
    sideless = {"?": "unsure", "=": "equal", "x": "both_bad"}
    made = []
    for number, word in enumerate(said, start=1):
        plain = word.rstrip("!")
        winner, grade = ("", sideless[plain]) if plain in sideless else (plain[0], grades[plain[1:]])
        made.append(Vote(number, 100 + number, winner, grade, "ba"[number % 2], surplus=word.endswith("!")))
    return made


@pytest.mark.parametrize(
    ("said", "winner", "grade", "margin", "votes_for"),
    [
        (["a+"], "a", "significantly", 1.0, 1),
        (["b"], "b", "slightly", 0.333333, 1),
        (["b-"], "b", "negligibly", 0.0, 1),
        (["a+", "a-"], "a", "negligibly", 0.5, 2),  # the lower median of two
        (["a+", "a", "a-"], "a", "slightly", 0.444444, 3),
        (["a+", "a+", "b+"], "a", "significantly", 1.0, 2),  # dissent counts in agreement, not in the margin
        (["a", "?", "?"], "a", "slightly", 0.333333, 1),  # unsure votes are for neither side
        (["a*"], "a", "better", 0.666667, 1),
        (["a+", "a*", "a"], "a", "better", 0.666667, 3),
        (["a", "a", "="], "a", "slightly", 0.333333, 2),
        (["a", "a", "=", "x"], "a", "slightly", 0.333333, 2),
    ],
)
def test_majority(said: list[str], winner: str, grade: str, margin: float, votes_for: int) -> None:
    (verdict,) = aggregate_votes(votes(*said), DatasetRule()).verdicts
    assert (verdict.winner, verdict.grade, verdict.margin) == (winner, grade, margin)
    assert (verdict.votes, verdict.votes_for) == (len(said), votes_for)
    assert verdict.judgment_ids == tuple(range(1, len(said) + 1))


@pytest.mark.parametrize(
    ("said", "rule", "reason", "votes_left_out"),
    [
        ([], {}, "no_votes", {}),
        (["?"], {}, "unsure", {"unsure": 1}),
        (["a", "b"], {}, "tie", {"tie": 2}),
        (["a", "b", "?"], {}, "tie", {"tie": 3}),
        (["="], {}, "equal", {"equal": 1}),
        (["x", "?"], {}, "unsure", {"unsure": 2}),  # of equally many the first of the scale
        (["x", "x", "?"], {}, "both_bad", {"both_bad": 3}),
        (["a", "="], {}, "equal", {"equal": 2}),  # a side must beat the verdict that there is none
        (["a", "b", "x", "x"], {}, "both_bad", {"both_bad": 4}),
        (["a", "a", "b", "b", "="], {}, "tie", {"tie": 5}),
        (["a", "="], {"aggregation": "unanimous"}, "equal", {"equal": 2}),
        (["=", "x", "?", "x"], {"aggregation": "single"}, "both_bad", {"unsure": 1, "equal": 1, "both_bad": 2}),
        (["a"], {"min_votes": 2}, "too_few_votes", {"too_few_votes": 1}),
        (["a", "a", "b"], {"aggregation": "unanimous"}, "conflict", {"conflict": 3}),
        (["a", "a", "?"], {"aggregation": "unanimous"}, "unsure", {"unsure": 3}),
        (["a-"], {"grades": ("significantly", "slightly")}, "grade", {"grade": 1}),
        (["a!"], {"count_surplus": False}, "set_aside", {"surplus": 1}),
        (["a", "b"], {"left_out_labelers": (101, 102)}, "set_aside", {"labeler": 2}),
        (["a", "a!"], {"count_surplus": False, "min_votes": 2}, "too_few_votes", {"surplus": 1, "too_few_votes": 1}),
        (["?", "a-"], {"aggregation": "single", "grades": ("slightly",)}, "grade", {"unsure": 1, "grade": 1}),
    ],
)
def test_what_is_left_out_and_why(
    said: list[str], rule: dict[str, object], reason: str, votes_left_out: dict[str, int]
) -> None:
    outcome = aggregate_votes(votes(*said), DatasetRule(**rule))  # type: ignore[arg-type]
    assert outcome.verdicts == [] and outcome.reason == reason
    assert outcome.votes_left_out == votes_left_out
    assert {reason, *votes_left_out} <= set(LEFT_OUT_LABELS)


def test_votes_without_a_side_are_counted_wherever_they_stand() -> None:
    outcome = aggregate_votes(votes("a", "a", "=", "?", "x!"), DatasetRule(count_surplus=False))
    assert outcome.verdicts and outcome.sideless == {"equal": 1, "unsure": 1}


def test_unanimous_votes_make_a_row() -> None:
    (verdict,) = aggregate_votes(votes("b", "b+"), DatasetRule(aggregation="unanimous")).verdicts
    assert (verdict.winner, verdict.votes, verdict.votes_for) == ("b", 2, 2)


@pytest.mark.parametrize(
    ("said", "on_the_left"),
    [
        (["a"], 1),
        (["b"], 0),
        (["a", "a", "a"], 2),
        (["b", "b", "b"], 1),
        (["a", "b", "a", "?"], 2),  # the dissenting and the unsure labeler saw it on the right
    ],
)
def test_votes_that_saw_the_winner_on_the_left_are_counted(said: list[str], on_the_left: int) -> None:
    (verdict,) = aggregate_votes(votes(*said), DatasetRule()).verdicts
    assert verdict.votes_winner_left == on_the_left
    assert take_recorded("a").verdicts[0].votes_winner_left == 0


def test_single_votes_are_rows_of_their_own() -> None:
    outcome = aggregate_votes(votes("a+", "?", "b-"), DatasetRule(aggregation="single"))
    assert [(v.winner, v.margin, v.judgment_ids, v.votes) for v in outcome.verdicts] == [
        ("a", 1.0, (1,), 1),
        ("b", 0.0, (3,), 1),
    ]
    assert outcome.votes_left_out == {"unsure": 1} and outcome.reason == ""


def test_surplus_votes_count_unless_the_rule_says_no() -> None:
    (verdict,) = aggregate_votes(votes("a", "b!", "b!"), DatasetRule()).verdicts
    assert verdict.winner == "b"
    (verdict,) = aggregate_votes(votes("a", "b!", "b!"), DatasetRule(count_surplus=False)).verdicts
    assert verdict.winner == "a" and verdict.votes == 1


def test_an_imported_winner_has_no_grade_and_no_votes() -> None:
    (verdict,) = take_recorded("b").verdicts
    assert (verdict.winner, verdict.grade, verdict.margin, verdict.votes) == ("b", None, 0.0, 0)
    assert take_recorded("").reason == "no_recorded_winner"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"aggregation": "loudest"}, "aggregation"),
        ({"min_votes": 0}, "min_votes"),
        ({"grades": ()}, "grades"),
        ({"grades": ("unsure",)}, "grades"),
        ({"eval_share": 0.6}, "eval_share"),
        ({"eval_share": float("nan")}, "eval_share"),
        ({"split_seed": -1}, "split_seed"),
    ],
)
def test_a_rule_that_makes_no_sense_names_the_field(fields: dict[str, object], wrong: str) -> None:
    with pytest.raises(RuleError) as caught:
        DatasetRule(**fields).check()  # type: ignore[arg-type]
    assert caught.value.field == wrong and caught.value.reason


def test_a_rule_survives_its_storage_and_says_itself_in_words() -> None:
    rule = DatasetRule(aggregation="unanimous", min_votes=3, grades=("slightly",), left_out_labelers=(4, 2))
    again = DatasetRule.from_json(rule.as_json())
    assert again == DatasetRule(aggregation="unanimous", min_votes=3, grades=("slightly",), left_out_labelers=(2, 4))
    assert len(describe_rule(again)) == 5
