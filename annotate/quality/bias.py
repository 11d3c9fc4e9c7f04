"""Position bias and self-consistency of labelers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from annotate.quality.intervals import Z95, Estimate, estimate_clustered_shares, estimate_share
from annotate.quality.votes import Floats, Integers, VoteTable

_FALSE_ALARMS = 0.05
"""The chance that anybody at all is flagged where nobody has a bias."""


def measure_position_bias(table: VoteTable) -> Estimate:
    """Share of wins of the left side among decided votes whose sides are known; clustered by labeler.

    One half is no bias as long as sides are drawn by a coin. Labelers differ, so votes of one of them are not
    independent trials.
    """
    shown, left = _find_left_wins(table)
    cluster, everything = table.labeler[shown], np.zeros(shown.sum(), dtype=np.int64)
    return estimate_clustered_shares(left, np.ones_like(left), cluster, everything, 1)[0]


def measure_position_bias_by_labeler(table: VoteTable) -> list[Estimate]:
    """The same for each labeler, by Wilson's interval."""
    shown, left = _find_left_wins(table)
    wins = np.bincount(table.labeler[shown], left, table.labelers)
    counts = np.bincount(table.labeler[shown], minlength=table.labelers)
    return [estimate_share(float(hits), int(count)) for hits, count in zip(wins, counts, strict=True)]


def flag_position_bias(shares: list[Estimate]) -> list[bool]:
    """Whose share is off one half beyond chance: a score test for each, Holm's correction for all of them."""
    chances = [_test_half(share) for share in shares]
    flags = [False] * len(shares)
    tested = sorted((chance, number) for number, chance in enumerate(chances) if chance is not None)
    for rank, (chance, number) in enumerate(tested):
        if chance * (len(tested) - rank) > _FALSE_ALARMS:
            break
        flags[number] = True
    return flags


def _test_half(share: Estimate) -> float | None:
    """Two-sided p of a share of one half; None without votes."""
    if share.value is None:
        return None
    return math.erfc(abs(share.value - 0.5) * 2 * math.sqrt(share.count) / math.sqrt(2))


def _find_left_wins(table: VoteTable) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], Floats]:
    """Which votes name a side that is known, and for each of them 1 where the left one won."""
    win = table.decision * table.side
    shown = win != 0
    return shown, (win[shown] > 0).astype(np.float64)


# -- Controlled for the pair ------------------------------------------------------------------------------------------


def estimate_side_effect(stratum: Integers, decision: Integers, side: Integers) -> Estimate:
    """The pull β of the left side where the same pair was seen both ways: logit P(vote for a) = α_stratum + β · side.

    Given how many votes of a stratum are for a, the number of them that saw a on the left has Fisher's noncentral
    hypergeometric distribution with odds ratio exp(2β), whatever α is (conditional logistic regression; Breslow and
    Day 1980, chapter 7). So unequal responses do not bias it. A stratum is a pair or, for repeats, a labeler's pair.
    ``value`` is β in log-odds; ``count`` the strata that say anything. Undefined without any, or where all of them
    point one way.
    """
    known = (decision != 0) & (side != 0)
    cells = _count_strata(stratum[known], decision[known] > 0, side[known] > 0)
    tables, times = np.unique(cells, axis=0, return_counts=True)
    spreads = [_spread(*map(int, row)) for row in tables]
    telling = [number for number, (ways, _weights) in enumerate(spreads) if len(ways) > 1]
    count = int(times[telling].sum())
    seen = sum(int(times[number]) * int(tables[number][3]) for number in telling)
    ends = [sum(int(times[number]) * int(spreads[number][0][end]) for number in telling) for end in (0, -1)]
    if not telling or seen in ends:
        return Estimate(None, None, None, count)
    beta, information = 0.0, 0.0
    for _step in range(100):
        moments = [_find_moments(*spreads[number], beta) for number in telling]
        expected = sum(int(times[number]) * mean for number, (mean, _v) in zip(telling, moments, strict=True))
        information = 4 * sum(int(times[number]) * var for number, (_m, var) in zip(telling, moments, strict=True))
        step = max(-1.0, min(1.0, 2 * (seen - expected) / information))
        beta += step
        if abs(step) < 1e-12:
            break
    error = 1 / math.sqrt(information)
    return Estimate(beta, beta - Z95 * error, beta + Z95 * error, count)


def _count_strata(stratum: Integers, for_a: Integers, a_left: Integers) -> Integers:
    """(S, 4): votes with a on the left, votes with b there, votes for a, and of these those with a on the left."""
    _ids, row = np.unique(stratum, return_inverse=True)
    columns = (a_left, ~a_left, for_a, for_a & a_left)
    size = int(row.max(initial=-1)) + 1
    return np.stack([np.bincount(row, column, size) for column in columns], axis=1).astype(np.int64)


def _spread(left: int, right: int, wins: int, _seen: int) -> tuple[Floats, Floats]:
    """The possible numbers of wins on the left, and the logs of the ways in which each comes about."""
    ways = np.arange(max(0, wins - right), min(left, wins) + 1)
    logs = [math.log(math.comb(left, int(k)) * math.comb(right, wins - int(k))) for k in ways]
    return ways.astype(np.float64), np.array(logs)


def _find_moments(ways: Floats, logs: Floats, beta: float) -> tuple[float, float]:
    weights = logs + 2 * beta * ways
    weights = np.exp(weights - weights.max())
    weights /= weights.sum()
    mean = float(weights @ ways)
    return mean, float(weights @ (ways - mean) ** 2)


# -- Repeats ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Consistency:
    """How often somebody who sees a pair again says the same of it: at all, and with the sides swapped."""

    same: Estimate
    same_when_flipped: Estimate


def measure_consistency(table: VoteTable) -> Consistency:
    """Over neighbouring repeats by one labeler, rows in the order in which they were given; ``count`` repeats."""
    order = np.lexsort((np.arange(table.votes), table.labeler, table.pair))
    pair, labeler = table.pair[order], table.labeler[order]
    decision, side = table.decision[order], table.side[order]
    again = (pair[1:] == pair[:-1]) & (labeler[1:] == labeler[:-1])
    same = decision[1:] == decision[:-1]
    flipped = again & (side[1:] * side[:-1] < 0)
    return Consistency(
        estimate_share(int((same & again).sum()), int(again.sum())),
        estimate_share(int((same & flipped).sum()), int(flipped.sum())),
    )
