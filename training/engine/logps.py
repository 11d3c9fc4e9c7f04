"""Token log-probabilities and scores of padded pair batches, without computing what no loss reads.

Two savings, both exact: the output head runs only at the positions whose log-probability is wanted (never over a whole
prompt), and no attention mask is built, because padding stands on the right where causal attention cannot see it.
Models for which this does not hold (a head that scales or caps its logits, say) are found by
:func:`agrees_with_full_forward` and get the ordinary forward pass.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from training.engine.batches import Batch

HEAD_CHUNK_ELEMENTS = 2**26
"""Logits held at once (256 MiB in fp32); beyond that the head works in chunks and recomputes them for the gradient."""


class PolicyScorer(nn.Module):
    """A causal language model as a function from batch to token log-probabilities."""

    def __init__(self, model: Any, autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self.model = model
        self.autocast = autocast
        self.reads_hidden_states = True

    def forward(self, batch: Batch) -> Tensor:
        """[2B, T-1] fp32: log p(token t+1 | tokens to t) at the wanted positions, 0 elsewhere."""
        targets = batch.input_ids[:, 1:].flatten()[batch.wanted]
        with _autocast(batch.input_ids.device, self.autocast):
            logps = self._wanted_logps(batch, targets)
        shape = batch.token_mask.shape
        flat = torch.zeros(shape.numel(), dtype=torch.float32, device=logps.device)
        return flat.index_copy(0, batch.wanted, logps).view(shape)

    def _wanted_logps(self, batch: Batch, targets: Tensor) -> Tensor:
        causal: Any = _unwrap(self.model)
        if not self.reads_hidden_states:
            logits = self.model(input_ids=batch.input_ids, attention_mask=_padding_mask(batch), use_cache=False).logits[
                :, :-1
            ]
            return _score_targets(logits.flatten(0, 1)[batch.wanted], targets)
        hidden = causal.base_model(input_ids=batch.input_ids, use_cache=False).last_hidden_state
        wanted = hidden[:, :-1].flatten(0, 1).index_select(0, batch.wanted)
        return _head_logps(causal.get_output_embeddings(), wanted, targets)


class RewardScorer(nn.Module):
    """A sequence classifier with one output as a function from batch to scores."""

    def __init__(self, model: Any, autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self.model = model
        self.autocast = autocast

    def forward(self, batch: Batch) -> Tensor:
        """[2B] fp32: the score read at each sequence's last token, found by length (a token id can lie)."""
        classifier: Any = _unwrap(self.model)
        with _autocast(batch.input_ids.device, self.autocast):
            if not hasattr(classifier, "score"):  # an encoder with a pooled head
                output = self.model(input_ids=batch.input_ids, attention_mask=_padding_mask(batch))
                return _as_scores(output.logits)
            hidden = classifier.base_model(input_ids=batch.input_ids, use_cache=False).last_hidden_state
        rows = torch.arange(len(hidden), device=hidden.device)
        last = hidden[rows, batch.lengths - 1]
        return _as_scores(classifier.score(last.to(_weight_dtype(classifier.score))))


def sum_completions(token_logps: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Summed log-probabilities of the chosen and of the rejected replies, each [B]."""
    chosen, rejected = (token_logps * batch.completion_mask).sum(-1).chunk(2)
    return chosen, rejected


def average_completions(token_logps: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean log-probability a token of the chosen and of the rejected replies, each [B]."""
    sums = (token_logps * batch.completion_mask).sum(-1)
    chosen, rejected = (sums / batch.completion_mask.sum(-1).clamp(min=1)).chunk(2)
    return chosen, rejected


@torch.no_grad()
def agrees_with_full_forward(scorer: PolicyScorer, batch: Batch, tolerance: float = 1e-3) -> bool:
    """Whether the short way gives the log-probabilities of the model's own forward pass, on one batch."""
    short = scorer(batch)
    scorer.reads_hidden_states = False
    full = scorer(batch)
    scorer.reads_hidden_states = True
    scale = 1.0 if scorer.autocast is None else 100.0  # bf16 has three digits
    return bool(((short - full).abs() <= tolerance * scale * (1 + full.abs())).all())


def _head_logps(head: Any, hidden: Tensor, targets: Tensor) -> Tensor:
    """[N] log-probabilities of ``targets`` [N] from hidden states [N, H], in chunks when the logits are many."""
    vocabulary = int(head.weight.shape[0])
    size = max(1, HEAD_CHUNK_ELEMENTS // vocabulary)
    if len(hidden) <= size:
        return _score_targets(head(hidden), targets)
    chunks = zip(torch.split(hidden, size), torch.split(targets, size), strict=True)
    return torch.cat([checkpoint(_score_chunk, head, *chunk, use_reentrant=False) for chunk in chunks])


def _score_chunk(head: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    return _score_targets(head(hidden), targets)


def _score_targets(logits: Tensor, targets: Tensor) -> Tensor:
    return -F.cross_entropy(logits.float(), targets, reduction="none")


def _unwrap(model: Any) -> Any:
    """The transformers model under a LoRA wrapper, adapters in place."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _as_scores(output: Tensor) -> Tensor:
    return output.squeeze(-1).float()


def _padding_mask(batch: Batch) -> Tensor:
    width = batch.input_ids.shape[1]
    return (torch.arange(width, device=batch.lengths.device) < batch.lengths[:, None]).long()


def _weight_dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def _autocast(device: torch.device, dtype: torch.dtype | None) -> torch.autocast:
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)
