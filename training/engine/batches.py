"""Which rows meet in which step, and how they become tensors.

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
from training.engine.layouts import PACKED, PLAIN, SHARED, Tree, lay_out, measure

WINDOW = 32
"""Forward passes that are sorted by length together: wide enough to save padding, narrow enough to stay random."""

MicroBatch = list[int]
"""Row numbers of one forward pass, over all processes."""


@dataclass
class Batch:
    """B rows of data, whose S sides (replies) are ordered by reply first: all chosen, then all rejected.

    For pairs S = 2B and side B + i is the rejected one of row i.
    """

    input_ids: Tensor
    """[R, T] int64; see layouts.py for rows and columns"""
    row_lengths: Tensor
    """[R] int64"""
    position_ids: Tensor | None
    trees: Tensor | None
    branches: Tensor | None
    wanted: Tensor
    """[N] int64: flat positions whose next-token log-probabilities the method reads"""
    targets: Tensor
    """[N] int64: the tokens asked for there"""
    segments: Tensor
    """[N] int64: what the log-probability belongs to: side s, or S + i for the prompt of row i"""
    ends: Tensor
    """[S] int64: flat position of each side's last token"""
    counts: Tensor
    """[S] float32: tokens that are summed for each side"""
    side_rows: Tensor
    """[S] int64: the row of each side"""
    side_replies: Tensor
    """[S] int64: which of its row's replies it is"""
    labels: Tensor
    """[S] bool: whether the side is a wanted one (chosen, desirable)"""
    margins: Tensor
    """[B] float32"""
    soft_labels: Tensor
    """[B] float32: probability that the chosen side is the better one"""
    weights: Tensor
    """[B] float32: the row's weight in the loss, mean 1 over the data"""
    present: Tensor
    """[B] float32: 1, or 0 for a row that only fills a process's empty share"""
    reference_logps: Tensor | None = None
    """[S] float32: summed log-probabilities of the replies under the reference"""
    kl: Tensor | None = None
    """[] float32: estimate of KL(policy, reference) over the step, for methods that need it"""

    @property
    def segment_count(self) -> int:
        return len(self.side_rows) + len(self.margins)

    def to(self, device: torch.device) -> Batch:
        """The batch on ``device``; copies overlap with computing where the hardware can."""
        moved = {
            name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in vars(self).items()
        }
        return Batch(**moved)


@dataclass(frozen=True)
class Arrangement:
    """How rows are put into tensors."""

    pad_id: int
    layout: str = PLAIN
    capacity: int = 0
    """Length of packed rows."""
    sides: int | None = None
    """Only that many replies of a row are laid out; None means all."""
    with_prompt: bool = False
    """Whether the prompt's log-probabilities are wanted too."""

    @property
    def pads(self) -> bool:
        """Whether rows of data are padded to the longest of them."""
        return self.layout != PACKED

    def measure(self, row: Row) -> int:
        """Positions that a row takes where its neighbours are no longer."""
        tree = Tree(row.prompt, row.replies[: self.sides])
        return measure(tree) if self.layout != PLAIN else len(tree.branches) * row.length


def plan_epoch(
    lengths: Sequence[int], *, micro_size: int, accumulation: int, seed: int, epoch: int, buckets: bool = True
) -> list[list[MicroBatch]]:
    """Steps of one epoch, each a list of up to ``accumulation`` micro-batches of up to ``micro_size`` rows.

    Rows are shuffled, sorted by length within windows (unless ``buckets`` is off), cut into micro-batches, and these
    are shuffled again, so that padding is small while every step still mixes lengths. Each row comes exactly once.
    """
    generator = random.Random(f"{seed}:{epoch}")
    order = list(range(len(lengths)))
    generator.shuffle(order)
    micro_batches: list[MicroBatch] = []
    for start in range(0, len(order), WINDOW * micro_size):
        window = order[start : start + WINDOW * micro_size]
        if buckets:
            window.sort(key=lambda row: lengths[row])
        micro_batches += [window[at : at + micro_size] for at in range(0, len(window), micro_size)]
    generator.shuffle(micro_batches)
    return [micro_batches[at : at + accumulation] for at in range(0, len(micro_batches), accumulation)]


def split_by_size(
    micro_batch: MicroBatch, sizes: Sequence[int], limit: int, *, padded: bool = True
) -> list[MicroBatch]:
    """Parts in order that take at most ``limit`` positions, padding included; a longer row stands alone."""
    parts: list[MicroBatch] = []
    taken: list[int] = []
    for row in micro_batch:
        taken.append(sizes[row])
        if not parts or (max(taken) * len(taken) if padded else sum(taken)) > limit:
            parts.append([])
            taken = [sizes[row]]
        parts[-1].append(row)
    return parts


def take_share(micro_batch: MicroBatch, rank: int, world: int) -> tuple[MicroBatch, list[float]]:
    """This process's rows of a micro-batch, and whether they count.

    A process without a row takes the first one with 0, since all must run the same collective operations.
    """
    share = micro_batch[rank::world]
    return (share, [1.0] * len(share)) if share else (micro_batch[:1], [0.0])


def collate(
    rows: Sequence[Row],
    arrangement: Arrangement,
    *,
    present: Sequence[float] | None = None,
    reference_logps: Sequence[Sequence[float]] | None = None,
) -> Batch:
    """Makes one batch of rows; ``reference_logps`` are given by row, then by reply."""
    trees = [Tree(row.prompt, row.replies[: arrangement.sides]) for row in rows]
    layout = lay_out(
        trees, _choose_layout(trees, arrangement), pad_id=arrangement.pad_id, capacity=arrangement.capacity
    )

    sides = [(reply, row) for row, tree in enumerate(trees) for reply in range(len(tree.branches))]
    order = sorted(range(len(sides)), key=sides.__getitem__)  # by reply, then by row
    positions = [layout.reply_positions[side] for side in order]
    targets = [layout.reply_targets[side] for side in order]
    counts = [len(part) for part in targets]
    if arrangement.with_prompt:
        positions += layout.prompt_positions
        targets += layout.prompt_targets
    sizes = torch.tensor([len(part) for part in positions])
    picked = [sides[side] for side in order]
    return Batch(
        input_ids=layout.input_ids,
        row_lengths=layout.row_lengths,
        position_ids=layout.position_ids,
        trees=layout.trees,
        branches=layout.branches,
        wanted=torch.cat(positions),
        targets=torch.cat(targets),
        segments=torch.repeat_interleave(torch.arange(len(sizes)), sizes),
        ends=layout.ends[torch.tensor(order)],
        counts=torch.tensor(counts, dtype=torch.float32),
        side_rows=torch.tensor([row for _reply, row in picked]),
        side_replies=torch.tensor([reply for reply, _row in picked]),
        labels=torch.tensor([rows[row].labels[reply] for reply, row in picked]),
        margins=_floats(row.margin for row in rows),
        soft_labels=_floats(row.soft_label for row in rows),
        weights=_floats(row.weight for row in rows),
        present=torch.ones(len(rows)) if present is None else _floats(present),
        reference_logps=None
        if reference_logps is None
        else _floats(reference_logps[row][reply] for reply, row in picked),
    )


def _choose_layout(trees: Sequence[Tree], arrangement: Arrangement) -> str:
    """Sharing pays where repeating the prompts would take more positions, padding included."""
    if arrangement.layout != SHARED:
        return arrangement.layout
    repeated = sum(len(tree.branches) for tree in trees)
    plain = repeated * max(len(tree.prompt) + max(map(len, tree.branches)) for tree in trees)
    shared = len(trees) * max(len(tree.prompt) + sum(map(len, tree.branches)) for tree in trees)
    return SHARED if shared < plain else PLAIN


def _floats(values: object) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float32)  # type: ignore[call-overload]
