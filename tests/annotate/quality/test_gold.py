"""Credit by distance, worked by hand; and a test that may be looked at after every answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.models import Project, Scale
from annotate.quality.gold import ALPHA, BETS, is_below, measure_credit, measure_evidence

ANSWERS = [
    ({"left": "a", "right": "b", "": ""}[choice.side], choice.grade.value)
    for choice in Project(allows_equal=True, allows_both_bad=True).choices
]
CREDITS = st.lists(st.floats(0, 1), max_size=40)
BARS = st.floats(0.05, 0.95)


@pytest.mark.parametrize(
    ("scale", "known", "said", "credit"),
    [
        ("three", "a significantly", "a significantly", 1.0),
        ("three", "a significantly", "a slightly", 5 / 6),  # one step of the six to the other end
        ("three", "a significantly", "a negligibly", 4 / 6),
        ("three", "a significantly", " unsure", 3 / 6),
        ("three", "a significantly", " equal", 3 / 6),
        ("three", "a significantly", " both_bad", 1 / 4),  # half of what unsure gives
        ("three", "a significantly", "b negligibly", 2 / 6),
        ("three", "a significantly", "b significantly", 0.0),
        ("three", "b negligibly", "b negligibly", 1.0),
        ("three", "b negligibly", "b significantly", 1 / 2),  # two steps of the four to a's strongest
        ("three", "b negligibly", "a significantly", 0.0),
        ("three", " equal", " unsure", 1.0),
        ("three", " equal", "b slightly", 1 / 3),
        ("three", " equal", "a significantly", 0.0),
        ("three", " both_bad", " both_bad", 1.0),
        ("three", " both_bad", " unsure", 1 / 2),
        ("three", " both_bad", "a negligibly", 0.0),
        ("four", "a better", "a significantly", 6 / 7),  # seven steps from a's better to b's strongest
        ("four", "a better", "b negligibly", 3 / 7),
        ("four", "a better", "b significantly", 0.0),
        ("three", "a better", "a slightly", 1 - 0.5 / 5.5),  # stands between slightly and significantly
    ],
)
def test_credit_by_hand(scale: str, known: str, said: str, credit: float) -> None:
    (winner, grade), (chosen, strength) = known.split(" "), said.split(" ")
    assert measure_credit(scale, (winner, grade), (chosen, strength)) == pytest.approx(credit)


@given(st.sampled_from(Scale.values), st.sampled_from(ANSWERS), st.sampled_from(ANSWERS))
def test_credit_is_a_share_full_for_the_known_answer_and_blind_to_names(
    scale: str, known: tuple[str, str], said: tuple[str, str]
) -> None:
    def swap(answer: tuple[str, str]) -> tuple[str, str]:
        return {"a": "b", "b": "a", "": ""}[answer[0]], answer[1]

    credit = measure_credit(scale, known, said)
    assert 0 <= credit <= measure_credit(scale, known, known) == 1
    assert credit == pytest.approx(measure_credit(scale, swap(known), swap(said)))


def test_chance_gives_about_half_whatever_the_known_answer_is() -> None:
    rail = [answer for answer in ANSWERS if answer[1] not in ("equal", "both_bad")]
    means = [np.mean([measure_credit("three", known, said) for said in rail]) for known in rail]
    assert min(means) > 0.42 and max(means) < 0.55


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1)), min_size=1, max_size=6), BARS, CREDITS)
def test_nobody_at_the_bar_is_expected_to_gain_by_one_more_answer(
    outcomes: list[tuple[float, float]], bar: float, before: list[float]
) -> None:
    """The martingale: over any distribution of the next credit whose mean is at least the bar, E[capital] falls."""
    credits, weights = np.array(outcomes).T
    weights = weights / weights.sum()
    mean = float(credits @ weights)
    if mean < bar:  # moved up, as far as needed, towards full credit
        credits = credits + (1 - credits) * (bar - mean) / (1 - mean)
    after = sum(
        weight * measure_evidence([*before, float(min(credit, 1.0))], bar)
        for credit, weight in zip(credits, weights, strict=True)
    )
    assert after <= measure_evidence(before, bar) * (1 + 1e-9)


@given(CREDITS, BARS, st.randoms())
def test_the_order_of_answers_is_of_no_matter(credits: list[float], bar: float, draw: object) -> None:
    shuffled = credits.copy()
    draw.shuffle(shuffled)  # type: ignore[attr-defined]
    assert measure_evidence(shuffled, bar) == pytest.approx(measure_evidence(credits, bar), rel=1e-9)


def test_evidence_by_hand() -> None:
    assert measure_evidence([], 0.7) == pytest.approx(1.0)
    bets = [(number + 1) / (BETS + 1) / 0.3 for number in range(BETS)]
    assert measure_evidence([0.5], 0.7) == pytest.approx(np.mean([1 + bet * 0.2 for bet in bets]))
    assert measure_evidence([1.0, 0.0], 0.5) == pytest.approx(
        np.mean([(1 - bet / 2) * (1 + bet / 2) for bet in np.arange(1, BETS + 1) / (BETS + 1) * 2])
    )
    assert math.isfinite(measure_evidence([0.0] * 100_000, 0.9))
    assert not is_below([1.0] * 500, 0.7) and is_below([0.0] * 10, 0.7)


def test_labelers_at_the_bar_are_hardly_ever_paused_however_often_one_looks() -> None:
    """1,000 of them, each looked at after each of 300 answers, and the crowd that the test is for."""
    draw = np.random.default_rng(3)
    bets = np.arange(1, BETS + 1) / (BETS + 1) / (1 - 0.7)

    def count_paused(credits: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> float:
        growth = np.cumsum(np.log1p(bets[:, None, None] * (0.7 - credits)), axis=2)
        return float((np.exp(growth).mean(axis=0).max(axis=1) >= 1 / ALPHA).mean())

    assert count_paused(draw.binomial(1, 0.7, (1000, 300)).astype(float)) <= ALPHA + 3 * math.sqrt(ALPHA / 1000)
    assert count_paused(draw.uniform(0, 1, (1000, 60))) > 0.8  # careless: mean 1/2
    assert all(is_below([0.2] * 12, bar) for bar in (0.6, 0.7, 0.8))
