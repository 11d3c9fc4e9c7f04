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

from training.engine.sizes import HEAD_CHUNK

_TILE_ROWS, _TILE_COLUMNS = 256, 2048
"""Logits that are swept over while they lie in a core's cache: 1 MiB in bf16."""


def score_targets(head: Any, hidden: Tensor, targets: Tensor) -> Tensor:
    """[N] fp32 log-probabilities of ``targets`` [N] after hidden states [N, H]."""
    score = _score_by_product if _is_one_matrix(head, hidden) else _score_by_cross_entropy
    size = max(1, HEAD_CHUNK // int(head.weight.shape[0]))
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

    The vocabulary is cut into tiles. With P = exp(h Wᵀ − m) of a tile under its own row maxima m, and z the row sums of
    all tiles brought to one maximum, the gradient towards h of Σ g_i·log p_i is g·W[t] − Σ_tiles (g·e/z)·(P W), where e
    brings a tile to the common maximum; towards W it is the transposed product. Scaling rows of [N, H] takes the place
    of scaling P.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        tiles = torch.split(weight, _TILE_COLUMNS)
        exponentials = [hidden.new_empty(len(hidden), len(tile)) for tile in tiles]
        highest, sums = torch.empty(2, len(tiles), len(hidden)).unbind()
        for number, tile in enumerate(tiles):
            for start in range(0, len(hidden), _TILE_ROWS):
                rows = slice(start, start + _TILE_ROWS)
                block = torch.mm(hidden[rows], tile.t(), out=exponentials[number][rows])
                peak = block.amax(-1, keepdim=True)
                highest[number, rows] = peak.squeeze(1)
                sums[number, rows] = block.sub_(peak).exp_().sum(-1, dtype=torch.float32)
        peaks = highest.amax(0)
        scales = (highest - peaks).exp_()
        total = (sums * scales).sum(0)
        chosen = (hidden.float() * weight[targets].float()).sum(-1)
        ctx.save_for_backward(hidden, weight, targets, scales / total, *exponentials)
        return chosen - peaks - total.log()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        hidden, weight, targets, shares, *exponentials = ctx.saved_tensors
        gradient, exact = gradients[0].float()[:, None], hidden.float()
        to_hidden = gradient * weight[targets].float() if ctx.needs_input_grad[0] else None
        to_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        for number, tile in enumerate(torch.split(weight, _TILE_COLUMNS)):
            scale = gradient * shares[number][:, None]
            if to_hidden is not None:
                to_hidden.addcmul_(scale, (exponentials[number] @ tile).float(), value=-1)
            if to_weight is not None:
                span = slice(number * _TILE_COLUMNS, (number + 1) * _TILE_COLUMNS)
                torch.mm(exponentials[number].t(), (-scale * exact).to(hidden.dtype), out=to_weight[span])
        if to_weight is not None:
            to_weight.index_add_(0, targets, (gradient * exact).to(to_weight.dtype))
        return None if to_hidden is None else to_hidden.to(hidden.dtype), to_weight, None
