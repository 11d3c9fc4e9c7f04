"""One pass over all rows without training: the reference's log-probabilities and the evaluation are both this."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from training.engine.batches import Batch, collate, take_share
from training.engine.context import Context
from training.engine.data import Row

ReferenceLogps = tuple[list[float], list[float]]
"""Summed log-probabilities under the reference, of the chosen and of the rejected replies, by row."""


def make_batch(
    context: Context,
    rows: Sequence[Row],
    indices: Sequence[int],
    *,
    reference: ReferenceLogps | None,
    prompt_of_chosen: bool,
    weights: Sequence[float] | None = None,
) -> Batch:
    """The rows with these numbers as a batch on the device."""
    picked = None
    if reference is not None:
        picked = ([reference[0][index] for index in indices], [reference[1][index] for index in indices])
    batch = collate(
        [rows[index] for index in indices],
        pad_id=context.pad_id,
        weights=weights,
        reference_logps=picked,
        prompt_of_chosen=prompt_of_chosen,
    )
    return batch.to(context.device)


@torch.no_grad()
def map_rows(
    context: Context,
    rows: Sequence[Row],
    compute: Callable[[Batch], dict[str, Tensor]],
    *,
    message: str,
    reference: ReferenceLogps | None = None,
    prompt_of_chosen: bool = False,
) -> dict[str, Tensor]:
    """Values [rows] on the CPU, by name, in the order of ``rows``; ``compute`` gives them for a batch.

    Longest rows come first, so that a batch too large for the device fails at once. Raises StopRequested.
    """
    world, rank = context.accelerator.num_processes, context.accelerator.process_index
    order = sorted(range(len(rows)), key=lambda index: -rows[index].pair.length)
    size = context.config.batch_size * world
    columns: dict[str, Tensor] = {}
    for start in range(0, len(order), size):
        context.check_stop()
        context.report(f"{message} {start}/{len(rows)}", always=start == 0)
        share, weights = take_share(order[start : start + size], rank, world)
        batch = make_batch(context, rows, share, reference=reference, prompt_of_chosen=prompt_of_chosen)
        if not any(weights):
            compute(batch)  # keeps the processes in step; another one has this row
            continue
        for name, values in compute(batch).items():
            column = columns.setdefault(name, torch.zeros(len(rows), device=context.device))
            column[torch.tensor(share, device=context.device)] = values.float()
    if world > 1:
        names = sorted(columns)  # each row was filled by exactly one process
        gathered = context.accelerator.reduce(torch.stack([columns[name] for name in names]), "sum")
        columns = dict(zip(names, gathered, strict=True))
    return {name: column.cpu() for name, column in columns.items()}
