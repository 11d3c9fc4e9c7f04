"""Figures of an evaluation, worked by hand, and what must hold of them whatever the rewards."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.engine.stats import (
    MOST_BINS,
    USUAL_BINS,
    choose_edges,
    describe_calibration,
    describe_distributions,
    describe_length_baseline,
    describe_position_baseline,
    wilson_interval,
)

GAPS = st.lists(st.floats(-50, 50), max_size=60)
REWARDS = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), max_size=60)


def gap_of(probability: float) -> float:
    """The reward gap that says: the chosen reply wins with this probability."""
    return math.log(probability / (1 - probability))


def test_wilson_as_in_the_literature() -> None:
    """Newcombe 1998, table I: 81 of 263 and 15 of 148; and the ends, where the normal interval has no width."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_baselines() -> None:
    length = describe_length_baseline([5, -2, 0, 7])
    assert (length["pairs"], length["accuracy"]) == (4, 0.625)
    position = describe_position_baseline([1.0, 0.0, None, 2 / 3])
    assert (position["pairs"], position["accuracy"]) == (3, pytest.approx(5 / 9))
    assert position["interval"] == pytest.approx(list(wilson_interval(5 / 3, 3)))
    assert describe_position_baseline([None]) == {"pairs": 0, "accuracy": None, "interval": [0.0, 1.0]}


def test_calibration_by_hand() -> None:
    """0.78 sure four times and right three times; 0.93 sure and right twice: ECE = 4/6 · 0.03 + 2/6 · 0.07."""
    sure, surer = gap_of(0.78), gap_of(0.93)
    found = describe_calibration([sure, -sure, sure, sure, surer, surer])
    low, high = found["bins"]
    assert (low["from"], low["to"], low["confidence"]) == pytest.approx((0.75, 0.8, 0.78))
    assert (low["pairs"], low["accuracy"], low["interval"]) == (4, 0.75, pytest.approx(list(wilson_interval(3, 4))))
    assert (high["from"], high["to"], high["confidence"]) == pytest.approx((0.9, 0.95, 0.93))
    assert (high["pairs"], high["accuracy"]) == (2, 1)
    assert found["pairs"] == 6
    assert found["ece"] == pytest.approx((4 * 0.03 + 2 * 0.07) / 6)


def test_the_order_of_writing_does_not_look_like_knowledge() -> None:
    """A model that is certain of the chosen reply only half of the time is not calibrated, for all the ones among y."""
    assert describe_calibration([40.0, -40.0])["ece"] == pytest.approx(0.5)


def test_a_tie_is_half_a_hit() -> None:
    (only,) = describe_calibration([0.0, 0.0])["bins"]
    assert (only["from"], only["confidence"], only["accuracy"]) == (0.5, 0.5, 0.5)


def test_soft_labels_count_votes() -> None:
    """Two thirds sure where two of three voted so, on either side: nothing amiss."""
    two_thirds = gap_of(2 / 3)
    assert describe_calibration([two_thirds, -two_thirds], [2 / 3, 1 / 3])["ece"] == pytest.approx(0)
    assert describe_calibration([two_thirds, -two_thirds], [2 / 3, 2 / 3])["ece"] == pytest.approx(1 / 6)


def test_what_is_no_number_is_left_out() -> None:
    assert describe_calibration([math.nan, math.inf])["ece"] is None
    assert describe_calibration([math.nan, 0.1])["pairs"] == 1
    assert describe_distributions([1.0, math.nan], [0.0, 0.0])["pairs"] == 1


@given(st.lists(st.tuples(st.integers(51, 99), st.integers(1, 5)), min_size=1, max_size=8))
def test_no_error_where_every_confidence_comes_true(groups: list[tuple[int, int]]) -> None:
    """Of 100 pairs at p per cent, p were won; any mixture of such groups is calibrated."""
    gaps = [
        gap_of(sure / 100) * (1 if number < sure else -1)
        for sure, times in groups
        for number in list(range(100)) * times
    ]
    assert describe_calibration(gaps)["ece"] == pytest.approx(0, abs=1e-9)


@given(GAPS)
def test_calibration_keeps_its_bounds(gaps: list[float]) -> None:
    found = describe_calibration(gaps)
    assert found["pairs"] == len(gaps) == sum(row["pairs"] for row in found["bins"])
    assert (found["ece"] is None) == (not gaps)
    assert found["ece"] is None or 0 <= found["ece"] <= 1
    for row in found["bins"]:
        assert 0.5 <= row["from"] <= row["confidence"] + 1e-12 <= row["to"] + 2e-12
        assert 0 <= row["interval"][0] <= row["accuracy"] <= row["interval"][1] <= 1


@given(GAPS, st.randoms())
def test_calibration_asks_neither_order_nor_side(gaps: list[float], dice: random.Random) -> None:
    """Pairs in another order, some written rejected first, are the same pairs."""
    found = describe_calibration(gaps)["ece"]
    turned = [(gap, 1.0) if dice.random() < 0.5 else (-gap, 0.0) for gap in gaps]
    dice.shuffle(turned)
    again = describe_calibration([gap for gap, _share in turned], [share for _gap, share in turned])["ece"]
    assert again == (None if found is None else pytest.approx(found, abs=1e-9))


def test_distributions_by_hand() -> None:
    """Sorted: 0 1 2 2 4 4 5 8; quartiles at 1.75 and 4.25, so IQR 2.5, width 2 · 2.5 / ∛8 and thus 4 bins of 2 each."""
    found = describe_distributions([2.0, 4.0, 5.0, 8.0], [0.0, 1.0, 2.0, 4.0])
    assert found["edges"] == [0, 2, 4, 6, 8]
    assert found["chosen"] == {"mean": 4.75, "std": pytest.approx(math.sqrt(4.6875)), "counts": [0, 1, 2, 1]}
    assert found["rejected"] == {"mean": 1.75, "std": pytest.approx(math.sqrt(2.1875)), "counts": [2, 1, 1, 0]}


def test_bins_where_the_rule_of_thumb_has_no_answer() -> None:
    assert choose_edges([]) == []
    assert choose_edges([3.0, 3.0]) == [2.5, 3.5]
    assert len(choose_edges([0.0] * 50 + [1.0])) == USUAL_BINS + 1
    assert len(choose_edges([number / 100 for number in range(100)] + [1e6])) == MOST_BINS + 1
    assert describe_distributions([], [])["chosen"] == {"mean": None, "std": None, "counts": []}


@given(REWARDS)
def test_every_reward_falls_into_a_bin(pairs: list[tuple[float, float]]) -> None:
    found = describe_distributions([chosen for chosen, _other in pairs], [rejected for _other, rejected in pairs])
    edges = found["edges"]
    assert edges == sorted(edges)
    for side in ("chosen", "rejected"):
        assert sum(found[side]["counts"]) == len(pairs)
        assert len(found[side]["counts"]) == max(0, len(edges) - 1)
