"""How token sequences become one rectangle of ids, such that each position sees exactly what it should.

A *tree* is a prompt with branches: the replies to it. Three layouts put trees into rows:

    plain   each branch in a row of its own, the prompt repeated:        P C | P R
    shared  each tree in a row, its prompt computed once:                P C R
    packed  several trees in a row:                                      P C R P' C' R'

In a plain row causal attention is all there is to say. In the others a token sees the earlier tokens of its own tree
that belong to the prompt or to its own branch, and positions count as if each branch followed its prompt directly (the
prefix sharing of arXiv 2410.20305). All three give the same log-probabilities and the same gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

PLAIN, SHARED, PACKED = "plain", "shared", "packed"

PROMPT = 0
"""Branch number of a prompt's tokens; replies count from 1."""


@dataclass(frozen=True)
class Tree:
    """A prompt and the replies that branch off it, as token ids."""

    prompt: Sequence[int]
    branches: tuple[Sequence[int], ...]


@dataclass
class Layout:
    """Trees as R rows of T tokens, padded on the right; S branches in all, those of a tree one after the other."""

    input_ids: Tensor
    """[R, T] int64"""
    row_lengths: Tensor
    """[R] int64: tokens that are no padding"""
    position_ids: Tensor | None
    """[R, T] int64; None where positions count along the row"""
    trees: Tensor | None
    """[R, T] int32: number of the token's tree, -1 for padding; None where causal attention is right"""
    branches: Tensor | None
    """[R, T] int32: PROMPT or number of the branch within its tree"""
    reply_positions: list[Tensor]
    """For each branch the flat positions (row × T + t) that predict its tokens."""
    reply_targets: list[Tensor]
    """For each branch the tokens predicted there. A branch without a prompt does not predict its first token."""
    prompt_positions: list[Tensor]
    """For each tree the flat positions that predict its prompt's tokens, all but the first."""
    prompt_targets: list[Tensor]
    ends: Tensor
    """[S] int64: flat position of each branch's last token"""


def lay_out(trees: Sequence[Tree], kind: str, *, pad_id: int, capacity: int = 0) -> Layout:
    """Puts trees into rows; ``capacity`` is the length up to which packed rows are filled."""
    if kind == PLAIN:
        pieces = [Tree(tree.prompt, (branch,)) for tree in trees for branch in tree.branches]
        rows = [[number] for number in range(len(pieces))]
    else:
        pieces = list(trees)
        sizes = [measure(tree) for tree in pieces]
        rows = pack(sizes, max([capacity, *sizes])) if kind == PACKED else [[number] for number in range(len(pieces))]
    width = max(sum(measure(pieces[number]) for number in row) for row in rows)
    canvas = _Canvas(len(rows), width, pad_id)
    for row, numbers in enumerate(rows):
        for number in numbers:
            canvas.place(row, number, pieces[number])
    layout = canvas.finish(len(pieces), causal=kind == PLAIN)
    if kind == PLAIN:  # a prompt that is repeated is predicted once
        firsts, branch = [], 0
        for tree in trees:
            firsts.append(branch)
            branch += len(tree.branches)
        layout.prompt_positions = [layout.prompt_positions[first] for first in firsts]
        layout.prompt_targets = [layout.prompt_targets[first] for first in firsts]
    return layout


def measure(tree: Tree) -> int:
    """Tokens of a tree in a row of its own."""
    return len(tree.prompt) + sum(len(branch) for branch in tree.branches)


def pack(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Numbers of items in bins of ``capacity``: first fit, the largest first (Johnson 1973)."""
    bins: list[list[int]] = []
    room: list[int] = []
    for number in sorted(range(len(sizes)), key=lambda number: -sizes[number]):
        place = next((index for index, free in enumerate(room) if free >= sizes[number]), None)
        if place is None:
            bins.append([])
            room.append(capacity)
            place = len(bins) - 1
        bins[place].append(number)
        room[place] -= sizes[number]
    return bins


def make_mask(trees: Tensor, branches: Tensor) -> Tensor:
    """[R, 1, T, T] bool: whether the query (third axis) sees the key (fourth axis). Every token sees itself."""
    same_tree = trees[:, :, None] == trees[:, None, :]
    same_line = (branches[:, None, :] == PROMPT) | (branches[:, :, None] == branches[:, None, :])
    width = trees.shape[1]
    causal = torch.ones(width, width, dtype=torch.bool, device=trees.device).tril()
    return (same_tree & same_line & causal)[:, None]


def make_block_mask(trees: Tensor, branches: Tensor) -> BlockMask:
    """The same as :func:`make_mask` in the form that FlexAttention takes: whole blocks that nobody sees are skipped."""
    rows, width = trees.shape
    # The positions of heads are not looked at; None stands for all of them.
    return create_block_mask(make_rule(trees, branches), rows, None, width, width, device=str(trees.device))


def make_rule(trees: Tensor, branches: Tensor) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """What :func:`make_mask` says, as a function of row, head, query and key."""

    def sees(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        same_tree = trees[row, query] == trees[row, key]
        same_line = (branches[row, key] == PROMPT) | (branches[row, query] == branches[row, key])
        return same_tree & same_line & (query >= key)

    return sees


class _Canvas:
    """Rows being filled from the left."""

    def __init__(self, rows: int, width: int, pad_id: int) -> None:
        self.width = width
        self.ids = torch.full((rows, width), pad_id, dtype=torch.int64)
        self.positions = torch.zeros((rows, width), dtype=torch.int64)
        self.trees = torch.full((rows, width), -1, dtype=torch.int32)
        self.branches = torch.zeros((rows, width), dtype=torch.int32)
        self.filled = [0] * rows
        self.replies: dict[int, list[tuple[Tensor, Tensor, int]]] = {}
        self.prompts: dict[int, tuple[Tensor, Tensor]] = {}

    def place(self, row: int, number: int, tree: Tree) -> None:
        start, size = self.filled[row], len(tree.prompt)
        base = row * self.width + start
        prompt = torch.tensor(tree.prompt, dtype=torch.int64)
        self._write(row, start, prompt, number, PROMPT, position=0)
        self.prompts[number] = (torch.arange(base, base + max(0, size - 1)), prompt[1:])
        self.replies[number] = []
        at = start + size
        for index, branch in enumerate(tree.branches, start=1):
            tokens = torch.tensor(branch, dtype=torch.int64)
            self._write(row, at, tokens, number, index, position=size)
            flat = row * self.width + at
            before = torch.arange(flat - 1, flat + len(tokens) - 1)
            if size:
                before[:1] = base + size - 1  # the prompt's end predicts the first token of every branch
            first = 0 if size else 1
            self.replies[number].append((before[first:], tokens[first:], flat + len(tokens) - 1))
            at += len(tokens)
        self.filled[row] = at

    def finish(self, count: int, *, causal: bool) -> Layout:
        replies = [reply for number in range(count) for reply in self.replies[number]]
        return Layout(
            input_ids=self.ids,
            row_lengths=torch.tensor(self.filled),
            position_ids=None if causal else self.positions,
            trees=None if causal else self.trees,
            branches=None if causal else self.branches,
            reply_positions=[positions for positions, _targets, _end in replies],
            reply_targets=[targets for _positions, targets, _end in replies],
            prompt_positions=[self.prompts[number][0] for number in range(count)],
            prompt_targets=[self.prompts[number][1] for number in range(count)],
            ends=torch.tensor([end for _positions, _targets, end in replies]),
        )

    def _write(self, row: int, start: int, tokens: Tensor, tree: int, branch: int, *, position: int) -> None:
        span = slice(start, start + len(tokens))
        self.ids[row, span] = tokens
        self.positions[row, span] = torch.arange(position, position + len(tokens))
        self.trees[row, span] = tree
        self.branches[row, span] = branch
