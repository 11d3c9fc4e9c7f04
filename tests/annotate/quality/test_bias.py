"""Position bias: shares, false alarms, the conditional estimate, and repeats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from scipy.optimize import minimize_scalar
from scipy.stats import nchypergeom_fisher
from statsmodels.discrete.conditional_models import ConditionalLogit

from annotate.quality.bias import (
    estimate_side_effect,
    flag_position_bias,
    measure_consistency,
    measure_position_bias,
    measure_position_bias_by_labeler,
)
from annotate.quality.intervals import estimate_share
from annotate.quality.votes import VoteTable
from tests.annotate.quality.tables import draw_votes, turn_around, vote_tables


def test_left_wins_are_counted_among_votes_that_say_so() -> None:
    # a left and better, b left and better, a right and better; unsure and unknown sides do not count.
    table = VoteTable.build([1, 2, 3, 4, 5], [1, 1, 1, 1, 2], [1, -2, 4, 0, 1], [1, -1, -1, 1, 0])
    first, second = measure_position_bias_by_labeler(table)
    assert first == estimate_share(2, 3) and second.value is None
    overall = measure_position_bias(table)
    assert overall.value == pytest.approx(2 / 3) and overall.count == 3


def test_only_the_biased_are_flagged() -> None:
    theta, beta = np.full(20, 1.5), np.zeros(20)
    beta[3], beta[7] = 2.0, -2.0
    table = draw_votes(theta, beta, pairs=1500, votes_a_pair=3, seed=3).table
    flags = flag_position_bias(measure_position_bias_by_labeler(table))
    assert [number for number, flag in enumerate(flags) if flag] == [3, 7]


def test_false_alarms_are_as_rare_as_promised() -> None:
    theta, beta, alarms = np.full(20, 1.5), np.zeros(20), 0
    for seed in range(200):
        table = draw_votes(theta, beta, pairs=300, votes_a_pair=3, seed=seed).table
        alarms += any(flag_position_bias(measure_position_bias_by_labeler(table)))
    assert alarms / 200 <= 0.09


@given(vote_tables())
def test_which_response_is_called_a_changes_no_bias(table: VoteTable) -> None:
    assert measure_position_bias(table) == measure_position_bias(turn_around(table))
    one, two = (estimate_side_effect(each.pair, each.decision, each.side) for each in (table, turn_around(table)))
    assert one.count == two.count and one.value == (None if two.value is None else pytest.approx(two.value, abs=1e-9))


def test_the_side_effect_does_not_mistake_good_responses_for_good_sides() -> None:
    # Response a is far better and mostly stood on the left: the plain share says 0.7, the pairs themselves no pull.
    draw = np.random.default_rng(4)
    pair = np.repeat(np.arange(800), 4)
    side = np.where(draw.random(3200) < 0.75, 1, -1)
    decision = np.where(draw.random(3200) < 0.85, 1, -1)
    plain = measure_position_bias(VoteTable.build(pair, np.zeros(3200, dtype=np.int64), decision, side))
    effect = estimate_side_effect(pair, decision, side)
    assert plain.value is not None and plain.value > 0.65
    assert effect.low is not None and effect.high is not None
    assert effect.low < 0 < effect.high


@pytest.mark.filterwarnings("ignore:Dropped")
def test_the_side_effect_equals_conditional_logistic_regression() -> None:
    drawn = draw_votes(np.full(9, 1.0), np.full(9, 0.7), pairs=120, votes_a_pair=4, seed=6).table
    ours = estimate_side_effect(drawn.pair, drawn.decision, drawn.side)
    theirs = ConditionalLogit((drawn.decision > 0).astype(int), drawn.side[:, None].astype(float), groups=drawn.pair)
    best = minimize_scalar(
        lambda beta: -theirs.loglike(np.array([beta])), bounds=(-3, 3), method="bounded", options={"xatol": 1e-10}
    )
    error = 1 / np.sqrt(-theirs.hessian(np.array([best.x]))[0, 0])
    assert ours.value == pytest.approx(best.x, abs=1e-6)
    assert ours.high == pytest.approx(best.x + 1.959964 * error, abs=1e-5)


def test_the_side_effect_equals_scipys_optimum_of_the_hypergeometric_likelihood() -> None:
    # Two strata: 3 on the left and 2 on the right, 3 votes for a, 2 of them left; 2 and 2, 2 for a, 1 of them left.
    stratum = np.array([1] * 5 + [2] * 4)
    side = np.array([1, 1, 1, -1, -1, 1, 1, -1, -1])
    decision = np.array([1, 1, -1, 1, -1, 1, -1, 1, -1])

    def find_loss(beta: float) -> float:
        odds = np.exp(2 * beta)
        return float(-nchypergeom_fisher.logpmf(2, 5, 3, 3, odds) - nchypergeom_fisher.logpmf(1, 4, 2, 2, odds))

    best = minimize_scalar(find_loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-10})
    assert estimate_side_effect(stratum, decision, side).value == pytest.approx(best.x, abs=1e-6)


def test_the_side_effect_is_not_defined_without_pairs_seen_both_ways() -> None:
    once = estimate_side_effect(np.array([1, 2]), np.array([1, -1]), np.array([1, 1]))
    assert once.value is None and once.count == 0
    always_left = estimate_side_effect(np.array([1, 1, 2, 2]), np.array([1, -1, 1, -1]), np.array([1, -1, 1, -1]))
    assert always_left.value is None and always_left.count == 2


def test_consistency_counts_repeats_and_those_with_sides_swapped() -> None:
    # Labeler 1 repeats pair 1 swapped, the same; pair 2 unswapped, otherwise. Labeler 2 never repeats.
    table = VoteTable.build([1, 2, 1, 2, 1], [1, 1, 1, 1, 2], [2, 1, 1, -1, -1], [1, 1, -1, 1, 1])
    consistency = measure_consistency(table)
    assert consistency.same == estimate_share(1, 2)
    assert consistency.same_when_flipped == estimate_share(1, 1)
