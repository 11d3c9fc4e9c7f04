"""The output head: log-probabilities of given tokens, without ever holding more logits than a budget.

A language model's head is its largest matrix, and over a vocabulary of 32,000 the softmax costs more memory traffic
than arithmetic. So on a CPU the head has a backward pass of its own, which reuses the exponentials of the forward pass:
three matrix products and four sweeps over the logits in all, where log-softmax with automatic differentiation takes
about ten sweeps. Elsewhere, and for heads that are more than one matrix, PyTorch's own cross entropy does it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CHUNK_ELEMENTS = 2**26
"""Logits held at once (256 MiB in fp32); beyond that the head works in chunks and recomputes them for the gradient."""
_ROWS_AT_ONCE = 256


def score_targets(head: Any, hidden: Tensor, targets: Tensor) -> Tensor:
    """[N] fp32 log-probabilities of ``targets`` [N] after hidden states [N, H]."""
    score = _score_by_product if _is_one_matrix(head, hidden) else _score_by_cross_entropy
    size = max(1, CHUNK_ELEMENTS // int(head.weight.shape[0]))
    if len(hidden) <= size:
        return score(head, hidden, targets)
    parts = zip(torch.split(hidden, size), torch.split(targets, size), strict=True)
    return torch.cat([checkpoint(score, head, *part, use_reentrant=False) for part in parts])


def _is_one_matrix(head: Any, hidden: Tensor) -> bool:
    return type(head) is nn.Linear and "bias" not in dict(head.named_parameters()) and hidden.device.type == "cpu"


def _score_by_cross_entropy(head: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    return -F.cross_entropy(head(hidden).float(), targets, reduction="none")


def _score_by_product(head: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    weight: Any = head.weight
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    with torch.autocast("cpu", enabled=False):
        logps: Tensor = _TargetLogps.apply(hidden, weight.to(hidden.dtype), targets)  # type: ignore[no-untyped-call]
    return logps


class _TargetLogps(torch.autograd.Function):
    """log softmax(h Wᵀ) at one column of each row: hidden [N, H], weight [V, H], targets [N] to [N] fp32.

    With P = exp(h Wᵀ − row maximum) and z = P 1, the gradient towards h of Σ g_i·log p_i is g·W[t] − (g/z)·P W, and
    towards W it is the transposed product; scaling rows of [N, H] replaces scaling P.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        exponentials = hidden.new_empty(len(hidden), len(weight))
        sums = torch.empty(len(hidden))
        logps = torch.empty(len(hidden))
        for start in range(0, len(hidden), _ROWS_AT_ONCE):  # a block of rows stays in the cache
            rows = slice(start, start + _ROWS_AT_ONCE)
            block = torch.mm(hidden[rows], weight.t(), out=exponentials[rows])
            highest = block.amax(-1, keepdim=True)
            above = (block.gather(1, targets[rows, None]).float() - highest.float()).squeeze(1)
            sums[rows] = block.sub_(highest).exp_().sum(-1, dtype=torch.float32)
            logps[rows] = above - sums[rows].log()
        ctx.save_for_backward(hidden, weight, targets, exponentials, sums)
        return logps

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        hidden, weight, targets, exponentials, sums = ctx.saved_tensors
        gradient = gradients[0].float()[:, None]
        shares = gradient / sums[:, None]
        to_hidden = to_weight = None
        if ctx.needs_input_grad[0]:
            to_hidden = gradient * weight[targets].float() - shares * (exponentials @ weight).float()
            to_hidden = to_hidden.to(hidden.dtype)
        if ctx.needs_input_grad[1]:
            exact = hidden.float()
            to_weight = -(exponentials.t() @ (shares * exact).to(hidden.dtype)).float()
            to_weight = to_weight.index_add_(0, targets, gradient * exact).to(weight.dtype)
        return to_hidden, to_weight, None
