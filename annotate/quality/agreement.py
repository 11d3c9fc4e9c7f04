"""Agreement: raw, Krippendorff's alpha, the kappas of Cohen and Fleiss.

Raw agreement and the kappas compare decisions (a, b, neither); alpha is given for decisions (nominal) and for the
signed scale of grades (ordinal).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotate.quality.intervals import Z95, Estimate, estimate_clustered_shares
from annotate.quality.votes import Floats, Integers, VoteTable, count_cells, find_shared

_DRAWS = 500
"""Bootstrap samples behind an interval of alpha."""
DECISIONS = 3


@dataclass(frozen=True)
class LabelerPair:
    """Two labelers (numbers into ``labeler_ids``) and Cohen's kappa on the comparisons that both judged."""

    first: int
    second: int
    kappa: Estimate


# -- Raw agreement ----------------------------------------------------------------------------------------------------


def measure_agreement(table: VoteTable) -> Estimate:
    """Share of pairs of votes on one comparison that say the same; ``count`` such pairs, clustered by comparison."""
    counts = table.count_decisions()
    everything = np.zeros(table.pairs, dtype=np.int64)
    return estimate_clustered_shares(*_count_pairs(counts), np.arange(table.pairs), everything, 1)[0]


def measure_agreement_by(table: VoteTable, group: Integers, groups: int) -> list[Estimate]:
    """For each group of votes: how often another vote on the same comparison says the same.

    ``group`` (V,) may be the labeler, the grade, the week. Votes are compared with all others, of whichever group.
    """
    counts = table.count_decisions()
    same = counts[table.pair, table.decision + 1].astype(np.float64) - 1
    others = counts.sum(axis=1)[table.pair].astype(np.float64) - 1
    return estimate_clustered_shares(same, others, table.pair, group, groups)


def _count_pairs(counts: Integers) -> tuple[Floats, Floats]:
    """Pairs of votes that agree, and all pairs of votes, for each row of counts."""
    total = counts.sum(axis=1)
    agreeing = (counts * (counts - 1)).sum(axis=1) / 2
    return np.asarray(agreeing, np.float64), np.asarray(total * (total - 1) / 2, np.float64)


# -- Krippendorff's alpha ---------------------------------------------------------------------------------------------


def measure_alpha(counts: Integers, *, ordinal: bool = False, seed: int = 0) -> Estimate:
    """Krippendorff's alpha of counts (P, C), columns in the order of the scale; ``count`` comparisons with two votes.

    Krippendorff, Content Analysis, chapter 12, with the canonical table of coincidences. The interval is a bootstrap
    over comparisons. Not defined where no comparison has two votes, or all votes are the same.
    """
    paired = counts[counts.sum(axis=1) >= 2]
    if not len(paired):
        return Estimate(None, None, None, 0)
    patterns, times = np.unique(paired, axis=0, return_counts=True)
    coincidences = _tabulate_coincidences(patterns)
    value = _find_alphas(np.tensordot(times.astype(np.float64), coincidences, 1)[None], ordinal)[0]
    if np.isnan(value):
        return Estimate(None, None, None, len(paired))
    draws = np.random.default_rng(seed).multinomial(len(paired), times / times.sum(), size=_DRAWS)
    alphas = _find_alphas(np.tensordot(draws.astype(np.float64), coincidences, 1), ordinal)
    low, high = np.nanquantile(alphas, (0.025, 0.975)) if not np.isnan(alphas).all() else (value, value)
    return Estimate(float(value), float(low), float(high), len(paired))


def _tabulate_coincidences(counts: Integers) -> Floats:
    """(P, C, C): ordered pairs of votes of each comparison by their categories, weighted 1 / (votes - 1)."""
    rows = counts.astype(np.float64)
    ordered = rows[:, :, None] * rows[:, None, :] - rows[:, :, None] * np.eye(rows.shape[1])
    return np.asarray(ordered / (rows.sum(axis=1) - 1)[:, None, None])


def _find_alphas(coincidences: Floats, ordinal: bool) -> Floats:
    """(R,) alphas of tables (R, C, C); nan where nothing could differ.

    The ordinal distance of two categories is that of their mid-ranks: Σ of the marginals between them, both ends half.
    """
    marginals = coincidences.sum(axis=2)
    if ordinal:
        ranks = np.cumsum(marginals, axis=1) - marginals / 2
        distance = (ranks[:, :, None] - ranks[:, None, :]) ** 2
    else:
        distance = np.broadcast_to(1 - np.eye(coincidences.shape[1]), coincidences.shape)
    seen = (coincidences * distance).sum(axis=(1, 2))
    expected = (marginals[:, :, None] * marginals[:, None, :] * distance).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 0, 1 - (marginals.sum(axis=1) - 1) * seen / expected, np.nan)


# -- Kappas -----------------------------------------------------------------------------------------------------------


def measure_cohen(table: VoteTable, *, at_least: int = 10) -> list[LabelerPair]:
    """Cohen's kappa of every two labelers who share ``at_least`` comparisons, those who share most first."""
    first, second, left, right = _pair_votes(table)
    keys, where = np.unique(first * table.labelers + second, return_inverse=True)
    tables = count_cells(where, left * DECISIONS + right, len(keys), DECISIONS**2)
    shared = tables.sum(axis=1)
    order = [number for number in np.argsort(-shared, kind="stable") if shared[number] >= at_least]
    return [
        LabelerPair(
            int(keys[number] // table.labelers),
            int(keys[number] % table.labelers),
            estimate_cohen(tables[number].reshape(DECISIONS, DECISIONS)),
        )
        for number in order
    ]


def estimate_cohen(confusion: Integers) -> Estimate:
    """Cohen's kappa (1960) of a square table of counts, with the standard error of Fleiss, Cohen and Everitt (1969).

    Not defined where both give one and the same answer throughout.
    """
    count = int(confusion.sum())
    p = confusion / max(count, 1)
    row, column = p.sum(axis=1), p.sum(axis=0)
    expected = float(row @ column)
    if not count or expected >= 1:
        return Estimate(None, None, None, count)
    kappa = (float(np.trace(p)) - expected) / (1 - expected)
    agreed = (np.diag(p) * (1 - (row + column) * (1 - kappa)) ** 2).sum()
    apart = (1 - np.eye(len(p))) * p * (column[:, None] + row[None, :]) ** 2
    variance = agreed + (1 - kappa) ** 2 * apart.sum() - (kappa - expected * (1 - kappa)) ** 2
    error = float(np.sqrt(max(variance, 0.0) / count)) / (1 - expected)
    return Estimate(kappa, max(-1.0, kappa - Z95 * error), min(1.0, kappa + Z95 * error), count)


def measure_fleiss(counts: Integers) -> Estimate:
    """Fleiss' kappa (1971) of counts (P, C), over the comparisons with the commonest number of votes above one.

    It is only defined for one number of votes; ``count`` says how many comparisons have it. Without interval.
    """
    totals = counts.sum(axis=1)
    sizes = np.bincount(totals[totals >= 2])
    if not len(sizes):
        return Estimate(None, None, None, 0)
    votes = int(sizes.argmax())
    chosen = counts[totals == votes].astype(np.float64)
    seen = ((chosen**2).sum(axis=1) - votes).mean() / (votes * (votes - 1))
    expected = float(((chosen.sum(axis=0) / chosen.sum()) ** 2).sum())
    kappa = None if expected >= 1 else float((seen - expected) / (1 - expected))
    return Estimate(kappa, None, None, len(chosen))


def _pair_votes(table: VoteTable) -> tuple[Integers, Integers, Integers, Integers]:
    """Every two votes on one comparison: both labelers, the lower number first, and both decisions (0, 1, 2)."""
    order = np.lexsort((table.labeler, table.pair))
    pair, labeler, decision = table.pair[order], table.labeler[order], table.decision[order] + 1
    first, second = find_shared(pair)
    return labeler[first], labeler[second], decision[first], decision[second]
