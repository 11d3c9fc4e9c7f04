"""Attention over trees without a mask over all pairs of positions, for CPUs.

A mask says of every two positions whether one sees the other, and a kernel that is given one computes them all, also
what is masked away. Here each reply attends to its prompt and to itself and nothing else is computed, so several trees
can lie in one row without padding and without paying for one another. transformers calls it under the name
:data:`TREES`; its "mask" is the table that :func:`make_table` makes.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

TREES = "trees"
SHORT = 512
"""Trees of fewer tokens are attended to in fp32: in bf16 PyTorch's kernel needs up to twice as long for them."""
_PADDING = -1


def make_table(trees: Tensor, branches: Tensor) -> Tensor:
    """[1, 1, N, 3] int64: tree, branch and length of each run of positions, all rows behind one another.

    ``trees`` and ``branches`` [R, T] are those of a layout (layouts.py). It has four axes because transformers takes a
    mask of four axes for finished and hands it on as it is.
    """
    marks = torch.stack([trees.flatten(), branches.flatten()])
    runs, lengths = torch.unique_consecutive(marks, dim=1, return_counts=True)
    return torch.cat([runs.long(), lengths[None]]).t()[None, None]


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """transformers' attention function: query [R, H, T, D], key and value [R, G, T, D] to [R, T, H, D]."""
    if attention_mask is None or attention_mask.dtype != torch.int64:  # plain rows
        plain: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return plain
    rows, width, given = query.shape[0], query.shape[2], query.dtype
    trees = _read_trees(attention_mask)
    sizes = [sum(lengths) for _tree, lengths in trees]
    parts = zip(*(_split(states, sizes) for states in (query, key, value)), strict=True)
    outputs: list[Tensor] = []
    for (tree, lengths), (queries, keys, values) in zip(trees, parts, strict=True):
        if tree == _PADDING:
            outputs.append(torch.zeros_like(queries).transpose(1, 2))
        else:
            exact = torch.float32 if sum(lengths) < SHORT else given
            with torch.autocast("cpu", enabled=False):  # else it would take them back to bf16
                states = queries.to(exact), keys.to(exact), values.to(exact)
                outputs += [output.to(given) for output in _attend_tree(module, states, lengths, options)]
    return torch.cat(outputs, dim=1).reshape(rows, width, *outputs[0].shape[2:]), None


def _attend_tree(
    module: Any, states: tuple[Tensor, Tensor, Tensor], lengths: list[int], options: dict[str, Any]
) -> list[Tensor]:
    """Query, key and value [1, H, T, D] of one tree, whose prompt and replies are so long.

    The first reply goes together with the prompt, the others go to the prompt's keys one by one.
    """
    prompt, *replies = lengths
    sizes = [prompt + replies[0], *replies[1:]]
    queries, keys, values = (torch.split(part, sizes, dim=2) for part in states)
    outputs = [sdpa_attention_forward(module, queries[0], keys[0], values[0], None, **options)[0]]
    if len(replies) > 1:
        shared_keys, shared_values = keys[0][:, :, :prompt], values[0][:, :, :prompt]
    for number, size in enumerate(replies[1:], start=1):
        sees = torch.ones(size, prompt + size, dtype=torch.bool, device=keys[0].device).tril(prompt)
        whole_key = torch.cat([shared_keys, keys[number]], dim=2)
        whole_value = torch.cat([shared_values, values[number]], dim=2)
        outputs.append(
            sdpa_attention_forward(module, queries[number], whole_key, whole_value, sees[None, None], **options)[0]
        )
    return outputs


def _read_trees(table: Tensor) -> list[tuple[int, list[int]]]:
    """For each tree its number and the lengths of its prompt and of its branches, in order."""
    trees = []
    for tree, runs in groupby(table[0, 0].tolist(), key=lambda run: run[0]):
        lengths: list[int] = []
        for _tree, branch, length in runs:
            if not lengths and branch:  # no prompt
                lengths.append(0)
            lengths.append(length)
        trees.append((tree, lengths))
    return trees


def _split(states: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """[R, H, T, D] cut along all its positions, rows behind one another: each [1, H, size, D]."""
    flat = states.transpose(1, 2).flatten(0, 1).transpose(0, 1)[None]
    return torch.split(flat, sizes, dim=2)


AttentionInterface.register(TREES, attend)
AttentionMaskInterface.register(TREES, sdpa_mask)
