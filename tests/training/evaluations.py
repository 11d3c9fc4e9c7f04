"""Evaluations as the engine describes them, made up with its own figures, for tests of pages."""

from __future__ import annotations

import random
from typing import Any

from training.engine.stats import (
    describe_accuracy,
    describe_calibration,
    describe_distributions,
    describe_length_baseline,
    describe_position_baseline,
)

GRADES = ("significantly", "slightly", "negligibly", "ungraded")


def make_evaluation(pairs: int = 400, *, seed: int = 0) -> dict[str, Any]:
    """``result["eval"]`` of a model that is right about three times in four."""
    dice = random.Random(seed)
    chosen, rejected = ([dice.gauss(mean, 1) for _pair in range(pairs)] for mean in (0.8, -0.3))
    wins = [float(first > second) for first, second in zip(chosen, rejected, strict=True)]
    gaps = [first - second for first, second in zip(chosen, rejected, strict=True)]
    return {
        "loss": 0.52,
        **describe_accuracy(wins),
        "by_grade": {grade: describe_accuracy(wins[at :: len(GRADES)]) for at, grade in enumerate(GRADES)},
        "length_baseline": describe_length_baseline([dice.choice((1, 1, -1)) for _pair in range(pairs)]),
        "position_baseline": describe_position_baseline([dice.choice((1.0, 0.0)) for _pair in range(pairs)]),
        "calibration": {"of": "rewards", **describe_calibration(gaps)},
        "distributions": describe_distributions(chosen, rejected),
        "metrics": {},
    }
