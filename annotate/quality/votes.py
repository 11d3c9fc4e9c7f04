"""The table of votes that all figures of label quality are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

LEVELS = {"negligibly": 1, "slightly": 2, "better": 3, "significantly": 4}
"""Grade: its place on the ordinal scale. Only the order counts; a vote without a side (unsure, ...) stands at 0."""
UNRECORDED_ORDER = -1
"""The seed of a vote that was brought in: its sides are a coin's choice that nobody saw."""
CATEGORIES = 2 * max(LEVELS.values()) + 1


@dataclass(frozen=True)
class VoteTable:
    """V votes on P pairs by L labelers, in columns of length V.

    ``pair`` and ``labeler`` count from 0 into ``pair_ids`` and ``labeler_ids``. ``level`` is signed: above 0 for
    response a, below 0 for b, 0 for neither. ``side`` is 1 where a was shown on the left, -1 where b was, 0 where
    nobody knows.
    """

    pair: Integers
    labeler: Integers
    level: Integers
    side: Integers
    pair_ids: Integers
    labeler_ids: Integers

    @classmethod
    def build(
        cls,
        pair_ids: Sequence[int] | Integers,
        labeler_ids: Sequence[int] | Integers,
        levels: ArrayLike,
        sides: ArrayLike | None = None,
    ) -> VoteTable:
        """From the numbers of comparisons and accounts, one entry a vote."""
        known_pairs, pair = np.unique(np.asarray(pair_ids, dtype=np.int64), return_inverse=True)
        known_labelers, labeler = np.unique(np.asarray(labeler_ids, dtype=np.int64), return_inverse=True)
        level = np.asarray(levels, dtype=np.int64)
        side = np.zeros_like(level) if sides is None else np.asarray(sides, dtype=np.int64)
        return cls(pair, labeler, level, side, known_pairs, known_labelers)

    @property
    def decision(self) -> Integers:
        """1 for a, -1 for b, 0 for neither; (V,)."""
        return np.sign(self.level)

    @property
    def votes(self) -> int:
        return len(self.pair)

    @property
    def pairs(self) -> int:
        return len(self.pair_ids)

    @property
    def labelers(self) -> int:
        return len(self.labeler_ids)

    def count_decisions(self) -> Integers:
        """(P, 3): how many votes of each pair are for b, for neither, for a."""
        return count_cells(self.pair, self.decision + 1, self.pairs, 3)

    def count_levels(self) -> Integers:
        """(P, CATEGORIES): how many votes of each pair stand on each level, from b's strongest to a's."""
        return count_cells(self.pair, self.level + CATEGORIES // 2, self.pairs, CATEGORIES)


def read_level(winner: str, grade: str) -> int:
    """A judgment's winner (a, b or nothing) and grade as a signed level."""
    return {"a": 1, "b": -1, "": 0}[winner] * LEVELS.get(grade, 0)


def read_side(left: str, seed: int) -> int:
    """1 where a stood on the left, -1 where b did, 0 where that is not known."""
    return 0 if seed == UNRECORDED_ORDER else 1 if left == "a" else -1


def count_cells(row: Integers, column: Integers, rows: int, columns: int) -> Integers:
    """(rows, columns): how often each cell is named."""
    return np.bincount(row * columns + column, minlength=rows * columns).reshape(rows, columns).astype(np.int64)


def find_shared(pair: Integers) -> tuple[Integers, Integers]:
    """Every two rows of one pair, earlier row first, given the sorted pairs of the rows (V,)."""
    gaps = range(1, int(np.bincount(pair).max(initial=0)))
    nothing = np.zeros(0, dtype=np.int64)
    starts = [nothing, *(np.flatnonzero(pair[gap:] == pair[:-gap]) for gap in gaps)]
    ends = [start + gap for gap, start in enumerate(starts)]
    return np.concatenate(starts), np.concatenate(ends)
