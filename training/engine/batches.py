"""Which pairs meet in which step, and how they become one padded tensor.

The order is a pure function of seed, epoch and lengths, so a resumed run needs only its step number to go on exactly
where it stopped.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.engine.data import Row

WINDOW = 32
"""Forward passes that are sorted by length together: wide enough to save padding, narrow enough to stay random."""

MicroBatch = list[int]
"""Row numbers of one forward pass, over all processes."""


@dataclass
class Batch:
    """B pairs as 2B right-padded sequences of T tokens: first all chosen, then all rejected."""

    input_ids: Tensor
    """[2B, T] int64"""
    lengths: Tensor
    """[2B] int64, tokens of each sequence"""
    completion_mask: Tensor
    """[2B, T-1] float: 1 where position t predicts a token of the reply"""
    token_mask: Tensor
    """[2B, T-1] float: 1 where position t predicts any real token"""
    wanted: Tensor
    """[N] int64: flat positions (row × (T-1) + t) whose log-probabilities the method reads"""
    margins: Tensor
    """[B] float32"""
    weights: Tensor
    """[B] float32: 1, or 0 for a pair that only fills a process's empty share"""
    reference_logps: Tensor | None
    """[2B] float32: summed log-probabilities of the replies under the reference"""

    def to(self, device: torch.device) -> Batch:
        """The batch on ``device``; copies overlap with computing where the hardware can."""
        moved = {
            name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in vars(self).items()
        }
        return Batch(**moved)


def plan_epoch(
    lengths: Sequence[int], *, micro_size: int, accumulation: int, seed: int, epoch: int
) -> list[list[MicroBatch]]:
    """Steps of one epoch, each a list of up to ``accumulation`` micro-batches of up to ``micro_size`` rows.

    Rows are shuffled, sorted by length within windows, cut into micro-batches, and these are shuffled again, so that
    padding is small while every step still mixes lengths. Each row comes exactly once.
    """
    generator = random.Random(f"{seed}:{epoch}")
    order = list(range(len(lengths)))
    generator.shuffle(order)
    micro_batches: list[MicroBatch] = []
    for start in range(0, len(order), WINDOW * micro_size):
        window = sorted(order[start : start + WINDOW * micro_size], key=lambda row: lengths[row])
        micro_batches += [window[at : at + micro_size] for at in range(0, len(window), micro_size)]
    generator.shuffle(micro_batches)
    return [micro_batches[at : at + accumulation] for at in range(0, len(micro_batches), accumulation)]


def take_share(micro_batch: MicroBatch, rank: int, world: int) -> tuple[MicroBatch, list[float]]:
    """This process's rows of a micro-batch, with weights.

    A process without a row takes the first one with weight 0, since all must run the same collective operations.
    """
    share = micro_batch[rank::world]
    return (share, [1.0] * len(share)) if share else (micro_batch[:1], [0.0])


def collate(
    rows: Sequence[Row],
    *,
    pad_id: int,
    weights: Sequence[float] | None = None,
    reference_logps: tuple[Sequence[float], Sequence[float]] | None = None,
    prompt_of_chosen: bool = False,
) -> Batch:
    """Pads rows into one batch; ``prompt_of_chosen`` also asks for the chosen side's prompt log-probabilities."""
    sides = [row.pair.prompt + row.pair.chosen for row in rows] + [row.pair.prompt + row.pair.rejected for row in rows]
    starts = torch.tensor([len(row.pair.prompt) for row in rows] * 2)
    lengths = torch.tensor([len(side) for side in sides])
    width = int(lengths.max())
    input_ids = torch.full((len(sides), width), pad_id, dtype=torch.int64)
    for index, side in enumerate(sides):
        input_ids[index, : len(side)] = torch.tensor(side)

    target = torch.arange(1, width)  # position t predicts token t + 1
    token_mask = target < lengths[:, None]
    # A prompt of no tokens leaves the first reply token without a context to predict it from.
    completion_mask = token_mask & (target >= starts[:, None])
    wanted = completion_mask.clone()
    if prompt_of_chosen:
        wanted[: len(rows)] = token_mask[: len(rows)]
    return Batch(
        input_ids=input_ids,
        lengths=lengths,
        completion_mask=completion_mask.float(),
        token_mask=token_mask.float(),
        wanted=wanted.flatten().nonzero().squeeze(1),
        margins=torch.tensor([row.margin for row in rows], dtype=torch.float32),
        weights=torch.tensor(weights if weights is not None else [1.0] * len(rows), dtype=torch.float32),
        reference_logps=None
        if reference_logps is None
        else torch.tensor([*reference_logps[0], *reference_logps[1]], dtype=torch.float32),
    )
