"""What pairs that came again, sides swapped, tell of labelers: consistency, drift of grades, pull of a side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from annotate.quality.bias import estimate_side_effect, measure_consistency
from annotate.quality.intervals import Z95, Estimate, estimate_share
from annotate.quality.votes import Floats, VoteTable


@dataclass(frozen=True)
class Repeats:
    """``same`` share of repeats with the same answer; ``same_side`` of those with two sides that named the same one.

    Who names the same side twice named another response: the pull of a side, or chance. ``pull`` is that of the left in
    log-odds (annotate/quality/bias.py), which tells the two apart. ``shift`` is the mean change of the grade, in steps,
    where the response stayed the same: above 0 it became stronger.
    """

    same: Estimate
    same_side: Estimate
    pull: Estimate
    shift: Estimate


def measure_repeats(table: VoteTable) -> Repeats:
    """Of a table with two votes for each labeler and pair, the first one first."""
    order = np.lexsort((np.arange(table.votes), table.labeler, table.pair))
    pair, labeler = table.pair[order], table.labeler[order]
    first = np.flatnonzero((pair[1:] == pair[:-1]) & (labeler[1:] == labeler[:-1]))
    decision, side, level = table.decision[order], table.side[order], table.level[order]
    sided = first[(decision[first] != 0) & (decision[first + 1] != 0)]
    chosen = decision * side
    same_side = int((chosen[sided] == chosen[sided + 1]).sum())
    stayed = sided[decision[sided] == decision[sided + 1]]
    return Repeats(
        same=measure_consistency(table).same_when_flipped,
        same_side=estimate_share(same_side, len(sided)),
        pull=estimate_side_effect(table.pair * table.labelers + table.labeler, table.decision, table.side),
        shift=_estimate_mean((np.abs(level[stayed + 1]) - np.abs(level[stayed])).astype(np.float64)),
    )


def measure_repeats_by_labeler(table: VoteTable) -> list[Repeats]:
    """The same for each labeler of the table."""
    return [measure_repeats(_select_labeler(table, number)) for number in range(table.labelers)]


def _select_labeler(table: VoteTable, number: int) -> VoteTable:
    rows = table.labeler == number
    columns = (table.pair[rows], table.labeler[rows], table.level[rows], table.side[rows])
    return VoteTable(*columns, table.pair_ids, table.labeler_ids)


def _estimate_mean(values: Floats) -> Estimate:
    """By the normal distribution; without an interval below two values."""
    if not len(values):
        return Estimate(None, None, None, 0)
    mean = float(values.mean())
    if len(values) < 2:
        return Estimate(mean, None, None, 1)
    half = Z95 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half, len(values))
