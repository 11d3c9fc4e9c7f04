"""One pass over all rows without training: the reference's log-probabilities and the evaluation are both this."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from training.engine.batches import Arrangement, Batch, MicroBatch, collate, split_by_size, take_share
from training.engine.context import Context
from training.engine.data import Row

ReferenceLogps = list[list[float]]
"""Summed log-probabilities under the reference, by row and then by reply."""


def make_batch(
    context: Context,
    rows: Sequence[Row],
    indices: Sequence[int],
    arrangement: Arrangement,
    *,
    reference: ReferenceLogps | None = None,
    present: Sequence[float] | None = None,
) -> Batch:
    """The rows with these numbers as a batch on the device."""
    batch = collate(
        [rows[index] for index in indices],
        arrangement,
        present=present,
        reference_logps=None if reference is None else [reference[index] for index in indices],
    )
    return batch.to(context.device)


def make_splitter(
    context: Context, rows: Sequence[Row], arrangement: Arrangement
) -> Callable[[MicroBatch], list[MicroBatch]]:
    """Cuts batches of these rows into parts that all processes together take in one pass."""
    sizes = [arrangement.measure(row) for row in rows]
    limit = context.positions_per_pass * context.accelerator.num_processes
    return lambda batch: split_by_size(batch, sizes, limit, padded=arrangement.pads)


@torch.no_grad()
def map_rows(
    context: Context,
    rows: Sequence[Row],
    compute: Callable[[Batch], dict[str, Tensor]],
    arrangement: Arrangement,
    *,
    message: str,
    reference: ReferenceLogps | None = None,
) -> dict[str, Tensor]:
    """Values [rows] on the CPU, by name, in the order of ``rows``; ``compute`` gives them [B] for a batch.

    Longest rows come first, so that a batch too large for the device fails at once. Raises StopRequested.
    """
    world, rank = context.accelerator.num_processes, context.accelerator.process_index
    order = sorted(range(len(rows)), key=lambda index: -rows[index].length)
    size = context.config.batch_size * world
    split = make_splitter(context, rows, arrangement)
    columns: dict[str, Tensor] = {}
    done = 0
    for part in (part for start in range(0, len(order), size) for part in split(order[start : start + size])):
        context.check_stop()
        context.report(f"{message} {done}/{len(rows)}", always=done == 0)
        done += len(part)
        share, present = take_share(part, rank, world)
        values = compute(make_batch(context, rows, share, arrangement, reference=reference, present=present))
        for name, column in values.items():
            whole = columns.setdefault(name, torch.zeros(len(rows), device=context.device))
            if any(present):  # else computed to keep the processes in step: another one has this row
                whole[torch.tensor(share, device=context.device)] = column.float()
    if world > 1:
        names = sorted(columns)  # each row was filled by exactly one process
        gathered = context.accelerator.reduce(torch.stack([columns[name] for name in names]), "sum")
        columns = dict(zip(names, gathered, strict=True))
    return {name: column.cpu() for name, column in columns.items()}
