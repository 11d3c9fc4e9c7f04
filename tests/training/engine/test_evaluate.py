"""What an evaluation's columns become in the result."""

from __future__ import annotations

import json
import math

import pytest

from tests.training.engine.runs import make_row
from training.engine.evaluate import describe_evaluation

ROWS = [
    make_row(grade="slightly", length_gap=5, position=1.0),
    make_row(grade="slightly", length_gap=-5, position=0.5),
    make_row(grade=None, length_gap=-1, position=None),
]
COLUMNS = {"rewards/accuracies": [1.0, 0.0, 1.0], "rewards/chosen": [2.0, 0.0, 1.0], "rewards/rejected": [0, 1.0, 0.5]}


def test_accuracy_by_grade_stands_beside_both_baselines() -> None:
    found = describe_evaluation(ROWS, {"eval_loss": 0.5}, COLUMNS)
    assert (found["loss"], found["pairs"], found["accuracy"]) == (0.5, 3, pytest.approx(2 / 3))
    assert {grade: (each["pairs"], each["accuracy"]) for grade, each in found["by_grade"].items()} == {
        "slightly": (2, 0.5),
        "ungraded": (1, 1.0),
    }
    assert found["length_baseline"]["accuracy"] == pytest.approx(1 / 3)
    assert (found["position_baseline"]["pairs"], found["position_baseline"]["accuracy"]) == (2, 0.75)
    json.dumps(found, allow_nan=False)


def test_the_probability_is_that_of_the_reward_gap_unless_the_method_has_odds() -> None:
    by_rewards = describe_evaluation(ROWS, {"eval_loss": 0.5}, COLUMNS)["calibration"]
    assert (by_rewards["of"], by_rewards["pairs"]) == ("rewards", 3)
    assert by_rewards["bins"][-1]["confidence"] == pytest.approx(1 / (1 + math.exp(-2)))
    odds = COLUMNS | {"log_odds_chosen": [0.0, 0.0, 0.0]}
    by_odds = describe_evaluation(ROWS, {"eval_loss": 0.5}, odds)["calibration"]
    assert (by_odds["of"], by_odds["bins"][0]["confidence"], by_odds["ece"]) == ("log_odds", 0.5, 0.0)


def test_distributions_keep_the_sides_apart() -> None:
    found = describe_evaluation(ROWS, {"eval_loss": 0.5}, COLUMNS)["distributions"]
    assert (found["chosen"]["mean"], found["rejected"]["mean"]) == (1.0, 0.5)
    assert sum(found["chosen"]["counts"]) == sum(found["rejected"]["counts"]) == 3
