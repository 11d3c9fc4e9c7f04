"""What repeats tell: worked by hand, and recovered from labelers of whom the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from annotate.quality.repeats import measure_repeats, measure_repeats_by_labeler
from annotate.quality.votes import VoteTable
from benchmarks.label_quality import _draw_repeats


def test_worked_by_hand() -> None:
    # Pair 1: a both times, stronger. Pair 2: left both times, so a then b. Pair 3: b, then unsure. Labeler 8: b twice.
    table = VoteTable.build(
        [1, 2, 3, 1, 1, 2, 3, 1], [7, 7, 7, 8, 7, 7, 7, 8], [1, 2, -4, -2, 2, -2, 0, -1], [1, 1, 1, 1, -1, -1, -1, -1]
    )
    found = measure_repeats(table)
    assert (found.same.value, found.same.count) == (0.5, 4)
    assert found.same_side.value == pytest.approx(1 / 3) and found.same_side.count == 3
    assert (found.shift.value, found.shift.count) == (0.0, 2)
    seven, eight = measure_repeats_by_labeler(table)
    assert (seven.same.count, eight.same.value, eight.shift.value) == (3, 1.0, -1.0)


def test_nothing_says_nothing() -> None:
    found = measure_repeats(VoteTable.build([], [], []))
    assert (found.same.value, found.same_side.count, found.pull.value, found.shift.value) == (None, 0, None, None)


@pytest.mark.parametrize(("theta", "beta"), [(1.7, 0.0), (1.0, 1.0)])
def test_consistency_and_pull_are_recovered(theta: float, beta: float) -> None:
    found = [_draw_repeats(theta, beta, 400, seed) for seed in range(20)]
    left, right = 1 / (1 + np.exp(-(theta + beta))), 1 / (1 + np.exp(-(theta - beta)))
    expected = left * right + (1 - left) * (1 - right)
    assert np.mean([each.same.value for each in found]) == pytest.approx(expected, abs=0.02)
    assert np.mean([each.pull.value for each in found]) == pytest.approx(beta, abs=0.1)
