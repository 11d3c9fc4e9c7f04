"""Which rows meet in a step, and how they become tensors."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.engine.runs import make_row, repeatable
from training.engine.batches import WINDOW, Arrangement, collate, plan_epoch, split_by_size, take_share
from training.engine.layouts import PACKED, PLAIN, SHARED

ROWS = [
    make_row(3, 2, prompt=6, start=10, margin=1.0, soft_label=0.75, weight=0.5),
    make_row(1, 0, prompt=8, start=30, labels=(False,)),
    make_row(2, 4, prompt=7, start=50, margin=3.0),
]


@given(
    count=st.integers(1, 400),
    micro_size=st.integers(1, 9),
    accumulation=st.integers(1, 4),
    epoch=st.integers(0, 3),
    buckets=st.booleans(),
)
@repeatable
def test_each_row_comes_once_an_epoch(
    count: int, micro_size: int, accumulation: int, epoch: int, buckets: bool
) -> None:
    lengths = [1 + 7 * number % 50 for number in range(count)]
    steps = plan_epoch(lengths, micro_size=micro_size, accumulation=accumulation, seed=1, epoch=epoch, buckets=buckets)
    rows = [row for step in steps for micro_batch in step for row in micro_batch]
    assert sorted(rows) == list(range(len(lengths)))
    micro_batches = -(-len(lengths) // micro_size)
    assert len(steps) == -(-micro_batches // accumulation)  # what the loop takes for the length of an epoch
    assert all(len(step) == accumulation for step in steps[:-1])


@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=30), limit=st.integers(1, 200))
@repeatable
def test_parts_of_a_batch_stay_within_the_limit(sizes: list[int], limit: int) -> None:
    whole = list(range(len(sizes)))
    parts = split_by_size(whole, sizes, limit)
    assert [row for part in parts for row in part] == whole
    widths = [len(part) * max(sizes[row] for row in part) for part in parts]
    assert all(width <= limit or len(part) == 1 for width, part in zip(widths, parts, strict=True))
    for part, after in itertools.pairwise(parts):  # none is smaller than it has to be
        joined = [*part, after[0]]
        assert len(joined) * max(sizes[row] for row in joined) > limit


@pytest.mark.parametrize("layout", [PLAIN, SHARED])
@pytest.mark.parametrize("sides", [None, 1])
def test_the_size_of_a_row_is_what_it_takes(layout: str, sides: int | None) -> None:
    arrangement = Arrangement(0, layout, sides=sides)
    for row in ROWS:
        assert collate([row], arrangement).input_ids.numel() <= arrangement.measure(row)


def test_order_depends_on_seed_and_epoch() -> None:
    def plan(seed: int, epoch: int) -> list[list[list[int]]]:
        return plan_epoch(range(1, 257), micro_size=4, accumulation=2, seed=seed, epoch=epoch)

    assert plan(1, 0) == plan(1, 0)
    assert plan(1, 0) != plan(1, 1)
    assert plan(1, 0) != plan(2, 0)
    assert plan(1, 11) != plan(11, 1)


def measure_spread(lengths: list[int], **options: Any) -> float:
    """Mean difference between the longest and the shortest row of a forward pass."""
    steps = plan_epoch(lengths, micro_size=4, accumulation=2, seed=0, epoch=0, **options)
    spreads = [lengths[max(micro)] - lengths[min(micro)] for step in steps for micro in step]
    return sum(spreads) / len(spreads)


def test_rows_of_like_length_meet_unless_that_is_switched_off() -> None:
    lengths = list(range(1, 4 * WINDOW * 4 + 1))
    assert measure_spread(lengths) < 0.1 * measure_spread(lengths, buckets=False)


def test_short_and_long_rows_come_mixed_over_the_epoch() -> None:
    """Sorted windows alone would teach from short to long."""
    lengths = list(range(1, 4 * WINDOW + 1))
    means = [
        sum(lengths[row] for micro in step for row in micro) / sum(map(len, step))
        for step in plan_epoch(lengths, micro_size=4, accumulation=1, seed=0, epoch=0)
    ]
    rises = sum(later > earlier for earlier, later in itertools.pairwise(means))
    assert 8 < rises < len(means) - 8


@given(rows=st.integers(1, 12), world=st.integers(1, 5))
@repeatable
def test_processes_share_a_batch_without_gap_or_overlap(rows: int, world: int) -> None:
    seen: Counter[int] = Counter()
    for rank in range(world):
        share, weights = take_share(list(range(rows)), rank, world)
        assert len(share) == len(weights) > 0
        seen.update(row for row, weight in zip(share, weights, strict=True) if weight)
    assert seen == Counter(range(rows))


@pytest.mark.parametrize("layout", [PLAIN, SHARED, PACKED])
def test_sides_are_ordered_by_reply_then_by_row(layout: str) -> None:
    arrangement = Arrangement(0, layout=layout, capacity=40, with_prompt=True)
    reference = [[-1.0, -2.0], [-3.0], [-4.0, -5.0]]
    batch = collate(ROWS, arrangement, present=[1, 0, 1], reference_logps=reference)
    assert batch.side_rows.tolist() == [0, 1, 2, 0, 2]
    assert batch.side_replies.tolist() == [0, 0, 0, 1, 1]
    assert batch.labels.tolist() == [True, False, True, False, False]
    assert batch.counts.tolist() == [3, 1, 2, 2, 4]
    assert batch.reference_logps is not None and batch.reference_logps.tolist() == [-1, -3, -4, -2, -5]
    assert batch.margins.tolist() == [1, 0, 3]
    assert batch.soft_labels.tolist() == [0.75, 1, 1]
    assert batch.weights.tolist() == [0.5, 1, 1]
    assert batch.present.tolist() == [1, 0, 1]
    assert batch.segment_count == 5 + 3
    flat = batch.input_ids.flatten()
    for side, (row, reply) in enumerate(zip(batch.side_rows.tolist(), batch.side_replies.tolist(), strict=True)):
        assert batch.targets[batch.segments == side].tolist() == ROWS[row].replies[reply]
        assert flat[batch.ends[side]] == ROWS[row].replies[reply][-1]
    for number, row in enumerate(ROWS):
        assert batch.targets[batch.segments == 5 + number].tolist() == row.prompt[1:]


def test_without_the_prompt_only_replies_are_asked_for() -> None:
    batch = collate(ROWS, Arrangement(0))
    assert len(batch.wanted) == len(batch.targets) == len(batch.segments) == int(batch.counts.sum())
    assert batch.segments.max() == 4 and batch.segment_count == 8
    assert batch.reference_logps is None and batch.present.tolist() == [1, 1, 1]


def test_only_so_many_sides_are_laid_out() -> None:
    batch = collate(ROWS, Arrangement(0, sides=1), reference_logps=[[-1.0, -2.0], [-3.0], [-4.0, -5.0]])
    assert batch.side_rows.tolist() == [0, 1, 2]
    assert batch.reference_logps is not None and batch.reference_logps.tolist() == [-1, -3, -4]
    assert batch.input_ids.shape == (3, 9)
    assert batch.input_ids[0].tolist() == ROWS[0].prompt + ROWS[0].replies[0]


def test_prompts_are_shared_where_that_takes_fewer_positions() -> None:
    # prompt 6, replies 3 and 2: 2 rows of 9 = 18 against 1 row of 11
    assert len(collate([make_row(3, 2, prompt=6)], Arrangement(0, layout=SHARED)).input_ids) == 1
    # prompt 1, replies 6 and 2: 2 rows of 7 = 14 against 1 row of 9
    assert len(collate([make_row(6, 2, prompt=1)], Arrangement(0, layout=SHARED)).input_ids) == 1
    # without a prompt and with equal replies both take 8: nothing to gain from a mask
    assert len(collate([make_row(4, 4, prompt=0)], Arrangement(0, layout=SHARED)).input_ids) == 2
    # one reply a row: nothing to share
    assert collate([make_row(4, 0), make_row(2, 0)], Arrangement(0, layout=SHARED)).trees is None
    # 40 singles beside a pair whose row would be 2 · 20 + 1 wide: 41 · 41 against 42 · 21
    uneven = [make_row(20, 20, prompt=1)] + [make_row(20, 0, prompt=1)] * 40
    assert collate(uneven, Arrangement(0, layout=SHARED)).trees is None


def test_a_batch_moves_whole() -> None:
    batch = collate(ROWS, Arrangement(0, layout=PACKED, capacity=60), reference_logps=[[-1.0] * 2] * 3)
    batch.kl = torch.tensor(0.5)
    moved = batch.to(torch.device("meta"))
    assert vars(moved).keys() == vars(batch).keys()
    assert {value.device.type for value in vars(moved).values()} == {"meta"}
