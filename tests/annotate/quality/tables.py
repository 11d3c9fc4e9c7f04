"""Tables of votes for tests of the statistics: drawn with a known truth, or by Hypothesis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from annotate.quality.votes import Floats, Integers, VoteTable


@dataclass(frozen=True)
class Drawn:
    table: VoteTable
    truth: Integers


def draw_votes(
    theta: Floats, beta: Floats, *, pairs: int, votes_a_pair: int, seed: int = 0, unsure: float = 0.0
) -> Drawn:
    """Votes by the model of reliability.py: logit P(a) = θ·truth + β·side, sides by a coin, levels 1 to 4."""
    draw = np.random.default_rng(seed)
    truth = draw.choice([-1, 1], pairs)
    pair = np.repeat(np.arange(pairs), votes_a_pair)
    labeler = np.concatenate([draw.choice(len(theta), votes_a_pair, replace=False) for _ in range(pairs)])
    side = draw.choice([-1, 1], len(pair))
    for_a = draw.random(len(pair)) < 1 / (1 + np.exp(-(theta[labeler] * truth[pair] + beta[labeler] * side)))
    level = np.where(for_a, 1, -1) * draw.integers(1, 5, len(pair))
    level[draw.random(len(pair)) < unsure] = 0
    return Drawn(VoteTable.build(pair, labeler, level, side), truth)


@st.composite
def vote_tables(draw: st.DrawFn, *, least: int = 1) -> VoteTable:
    """Any table: each labeler votes at most once on a pair."""
    cells = draw(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 4)), min_size=least, max_size=30, unique=True))
    levels = draw(st.lists(st.integers(-4, 4), min_size=len(cells), max_size=len(cells)))
    sides = draw(st.lists(st.integers(-1, 1), min_size=len(cells), max_size=len(cells)))
    return VoteTable.build([pair for pair, _ in cells], [labeler for _, labeler in cells], levels, sides)


def turn_around(table: VoteTable) -> VoteTable:
    """The same votes after calling every response a b, and b a."""
    return VoteTable(table.pair, table.labeler, -table.level, -table.side, table.pair_ids, table.labeler_ids)
