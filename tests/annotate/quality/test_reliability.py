"""The reliability model and Crowd-BT: SciPy's optimum of the same posterior, and right where truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logsumexp

from annotate.quality.crowd_bt import rank_items
from annotate.quality.reliability import PRIOR_MEAN, fit_reliability
from annotate.quality.votes import VoteTable
from tests.annotate.quality.tables import draw_votes, turn_around, vote_tables


def find_minus_log_posterior(flat: np.ndarray, table: VoteTable) -> float:
    """The equation of reliability.py written out anew, truth by truth."""
    theta, beta = flat.reshape(2, -1)
    logs = np.full((table.pairs, 2), np.log(0.5))
    for column, truth in enumerate((1, -1)):
        for pair, labeler, decision, side in zip(table.pair, table.labeler, table.decision, table.side, strict=True):
            if decision:
                logs[pair, column] += log_expit(decision * (theta[labeler] * truth + beta[labeler] * side))
    prior = ((theta - np.log(4)) ** 2).sum() / 2 + (beta**2).sum() / (2 * 0.25)
    return float(prior - logsumexp(logs, axis=1).sum())


def test_the_fit_is_scipys_optimum() -> None:
    theta, beta = np.array([2.0, 1.5, 1.0, 0.0, -1.5]), np.array([0.0, 0.5, -0.3, 1.0, 0.0])
    table = draw_votes(theta, beta, pairs=60, votes_a_pair=3, seed=5, unsure=0.1).table
    fit = fit_reliability(table)
    start = np.concatenate((np.full(5, PRIOR_MEAN), np.zeros(5)))
    best = minimize(find_minus_log_posterior, start, args=(table,), method="BFGS", options={"gtol": 1e-7})
    assert fit.converged
    assert np.concatenate((fit.weight, fit.side_bias)) == pytest.approx(best.x, abs=1e-6)
    assert fit.path[-1] == pytest.approx(-best.fun, abs=1e-6)


def test_a_single_vote_is_worth_what_the_prior_says() -> None:
    fit = fit_reliability(VoteTable.build([1, 2, 3], [1, 2, 3], [3, -1, 0]))
    assert fit.posterior == pytest.approx([0.8, 0.2, 0.5])
    assert fit.weight == pytest.approx(np.full(3, PRIOR_MEAN))


@settings(max_examples=40)
@given(vote_tables())
def test_each_step_climbs_and_the_posterior_is_a_probability(table: VoteTable) -> None:
    fit = fit_reliability(table)
    assert (np.diff(fit.path) >= -1e-9).all()
    assert ((fit.posterior >= 0) & (fit.posterior <= 1)).all()
    assert np.isfinite(fit.errors).all()


@settings(max_examples=30)
@given(vote_tables())
def test_which_response_is_called_a_turns_the_posterior_around(table: VoteTable) -> None:
    one, two = fit_reliability(table), fit_reliability(turn_around(table))
    assert one.posterior == pytest.approx(1 - two.posterior, abs=1e-6)
    assert one.weight == pytest.approx(two.weight, abs=1e-6)
    assert one.side_bias == pytest.approx(two.side_bias, abs=1e-6)


@settings(max_examples=30)
@given(vote_tables(least=2))
def test_the_order_of_the_votes_changes_no_bit(table: VoteTable) -> None:
    shuffled = np.random.default_rng(0).permutation(table.votes)
    pair, labeler, level, side = (each[shuffled] for each in (table.pair, table.labeler, table.level, table.side))
    again = VoteTable(pair, labeler, level, side, table.pair_ids, table.labeler_ids)
    assert (fit_reliability(table).posterior == fit_reliability(again).posterior).all()


def test_adversaries_and_side_pulls_are_found_within_their_errors() -> None:
    theta = np.array([2.0, 2.0, 1.5, 1.5, 1.0, 1.0, 0.0, -1.5])
    beta = np.array([0.0, 0.0, 0.0, 1.0, -0.5, 0.0, 0.0, 0.0])
    drawn = draw_votes(theta, beta, pairs=3000, votes_a_pair=4, seed=1)
    fit = fit_reliability(drawn.table)
    assert (np.abs(fit.weight - theta) < 4 * fit.errors[:, 0]).all()
    assert (np.abs(fit.side_bias - beta) < 4 * fit.errors[:, 1]).all()
    assert fit.errors.max() < 0.25
    right = (fit.posterior > 0.5) == (drawn.truth > 0)
    majority = np.bincount(drawn.table.pair, drawn.table.decision) * drawn.truth
    assert right.mean() > (majority > 0).mean() + (majority == 0).mean() / 2 + 0.02
    sure = fit.posterior > 0.9
    assert (drawn.truth[sure] > 0).mean() == pytest.approx(fit.posterior[sure].mean(), abs=0.02)  # calibrated


def test_intervals_of_reliability_cover_the_truth() -> None:
    theta, hits, trials = np.repeat([2.2, 1.4, 0.6], 4), 0, 0
    for seed in range(30):
        table = draw_votes(theta, np.zeros(12), pairs=400, votes_a_pair=3, seed=seed).table
        fit = fit_reliability(table)
        for labeler, true in enumerate(expit(theta)):
            reliability = fit.describe_reliability(labeler, votes=1)
            assert reliability.low is not None and reliability.high is not None
            hits, trials = hits + (reliability.low <= true <= reliability.high), trials + 1
    assert 0.9 < hits / trials < 0.99


def test_labelers_who_always_meet_the_same_partner_are_fitted_in_few_steps() -> None:
    """Their votes tell how often the two agree, and not who of them is right: the posterior bends both ways."""
    draw = np.random.default_rng(0)
    pairs, couples = 10_000, 10
    pair = np.repeat(np.arange(pairs), 2)
    labeler = np.stack((2 * (np.arange(pairs) % couples), 2 * (np.arange(pairs) % couples) + 1), axis=1).ravel()
    truth, side = draw.choice([-1, 1], pairs)[pair], draw.choice([-1, 1], 2 * pairs)
    theta, beta = draw.normal(1.4, 0.8, 2 * couples)[labeler], draw.normal(0, 0.3, 2 * couples)[labeler]
    vote = np.where(draw.random(2 * pairs) < expit(theta * truth + beta * side), 1, -1)
    table = VoteTable.build(pair, labeler, vote, side)
    fit = fit_reliability(table)
    assert fit.converged and len(fit.path) < 60 and (np.diff(fit.path) >= 0).all()
    few = VoteTable.build(pair[:400], labeler[:400], vote[:400], side[:400])
    fit = fit_reliability(few)
    here = np.concatenate((fit.weight, fit.side_bias))
    better = minimize(find_minus_log_posterior, here, args=(few,), method="BFGS", options={"maxiter": 3})
    assert fit.path[-1] == pytest.approx(-better.fun, abs=1e-5), "a maximum, no saddle between the two of a couple"


# -- Crowd-BT ---------------------------------------------------------------------------------------------------------


def draw_matches(seed: int, reliability: np.ndarray, items: int, votes: int) -> tuple[np.ndarray, ...]:
    draw = np.random.default_rng(seed)
    strength = draw.normal(0, 1.5, items)
    first, second = np.array([draw.choice(items, 2, replace=False) for _ in range(votes)]).T
    labeler = draw.integers(0, len(reliability), votes)
    ahead = expit(strength[first] - strength[second])
    eta = reliability[labeler]
    wins = draw.random(votes) < eta * ahead + (1 - eta) * (1 - ahead)
    return np.where(wins, first, second), np.where(wins, second, first), labeler, strength


def test_crowd_bt_is_scipys_optimum_and_climbs() -> None:
    winner, loser, labeler, _strength = draw_matches(2, np.array([0.95, 0.9, 0.7, 0.2]), items=6, votes=400)

    def find_loss(flat: np.ndarray) -> float:
        x, eta = flat[:6], expit(flat[6:])[labeler]
        ahead = expit(x[winner] - x[loser])
        prior = 4 * log_expit(flat[6:]).sum() + log_expit(-flat[6:]).sum() - (x**2).sum() / 18
        return float(-np.log(eta * ahead + (1 - eta) * (1 - ahead)).sum() - prior)

    best = minimize(find_loss, np.concatenate((np.zeros(6), np.full(4, np.log(4)))), options={"gtol": 1e-8})
    ranking = rank_items(winner, loser, labeler, 6, 4)
    assert ranking.converged and (np.diff(ranking.path) >= -1e-9).all()
    assert ranking.strength == pytest.approx(best.x[:6], abs=1e-5)
    assert ranking.reliability == pytest.approx(expit(best.x[6:]), abs=1e-5)
    assert ranking.path[-1] == pytest.approx(-best.fun, abs=1e-6)


def test_crowd_bt_orders_items_that_equal_weights_do_not() -> None:
    kendall = {"weighed": 0.0, "equal": 0.0}
    for seed in range(5):
        reliability = np.array([0.95] * 4 + [0.5] * 3 + [0.1] * 3)
        winner, loser, labeler, strength = draw_matches(seed, reliability, items=20, votes=1500)
        one = np.zeros_like(labeler)
        for name, who, labelers in (("weighed", labeler, 10), ("equal", one, 1)):
            found = rank_items(winner, loser, who, 20, labelers).strength
            pairs = np.sign(strength[:, None] - strength) * np.sign(found[:, None] - found)
            kendall[name] += pairs.sum() / (20 * 19) / 5
    assert kendall["weighed"] > kendall["equal"] + 0.1 and kendall["weighed"] > 0.7


def test_too_many_items_are_refused() -> None:
    with pytest.raises(ValueError, match="2000 items"):
        rank_items(np.array([0]), np.array([1]), np.array([0]), 2000, 1)
