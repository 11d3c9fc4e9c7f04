"""Accuracies with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

Z_95 = 1.959963984540054


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927); unlike the normal one it stays within 0 and 1."""
    if trials == 0:
        return (0.0, 1.0)
    share, square = successes / trials, Z_95 * Z_95
    centre = (share + square / (2 * trials)) / (1 + square / trials)
    half = Z_95 * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials)) / (1 + square / trials)
    return (min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))  # min, max: against rounding


def describe_accuracy(hits: Sequence[float]) -> dict[str, Any]:
    """Share of hits (1, 0, or 0.5 for a tie) with interval and number of pairs; accuracy is None without pairs."""
    total = sum(hits)
    low, high = wilson_interval(total, len(hits))
    return {"pairs": len(hits), "accuracy": total / len(hits) if hits else None, "interval": [low, high]}


def describe_length_baseline(length_gaps: Sequence[int]) -> dict[str, Any]:
    """How often the longer reply is the chosen one: what a model that only counts characters would reach."""
    return describe_accuracy([1.0 if gap > 0 else 0.5 if gap == 0 else 0.0 for gap in length_gaps])
