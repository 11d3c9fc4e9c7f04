"""The model as a function of batches: summed log-probabilities of a policy, scores of a reward model.

Only what a loss reads is computed: the output head runs at the positions whose log-probability is wanted (never over a
whole prompt) and never holds the logits of all of them, and prompts can be shared between their replies (layouts.py).
Where an architecture does not allow one of these savings, :func:`find_savings` says so and the plain way is taken: the
model's own forward pass on ordinary padded rows, which is also what the tests hold the rest against.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask

from training.engine.attention import TREES, make_table
from training.engine.batches import Batch
from training.engine.head import score_targets
from training.engine.layouts import make_block_mask, make_mask


class PolicyScorer(nn.Module):
    """A causal language model as a function from batch to summed log-probabilities."""

    def __init__(self, model: Any, autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self.model = model
        self.autocast = autocast
        self.reads_hidden_states = True

    def forward(self, batch: Batch) -> Tensor:
        """[S + B] fp32: sums over the tokens of each reply, then of each prompt (0 where none were wanted)."""
        with _autocast(batch.input_ids.device, self.autocast):
            logps = self._score(batch)
        sums = torch.zeros(batch.segment_count, dtype=torch.float32, device=logps.device)
        return sums.index_add(0, batch.segments, logps)

    def _score(self, batch: Batch) -> Tensor:
        causal: Any = _unwrap(self.model)
        if not self.reads_hidden_states:
            logits = self.model(**_inputs(causal, batch, mask_padding=True), use_cache=False).logits
            wanted = logits.flatten(0, 1).index_select(0, batch.wanted)
            return -F.cross_entropy(wanted.float(), batch.targets, reduction="none")
        hidden = causal.base_model(**_inputs(causal, batch), use_cache=False).last_hidden_state
        return score_targets(
            causal.get_output_embeddings(), hidden.flatten(0, 1).index_select(0, batch.wanted), batch.targets
        )


class RewardScorer(nn.Module):
    """A sequence classifier with one output as a function from batch to scores."""

    def __init__(self, model: Any, autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self.model = model
        self.autocast = autocast
        self.reads_hidden_states = hasattr(_unwrap(model), "score")  # an encoder has a pooled head instead

    def forward(self, batch: Batch) -> Tensor:
        """[S] fp32: the score read at each side's last token, found by position (a token id can lie)."""
        classifier: Any = _unwrap(self.model)
        with _autocast(batch.input_ids.device, self.autocast):
            if not self.reads_hidden_states:
                scores = _as_scores(self.model(**_inputs(classifier, batch, mask_padding=True)).logits)
                return scores[batch.ends // batch.input_ids.shape[1]]
            hidden = classifier.base_model(**_inputs(classifier, batch), use_cache=False).last_hidden_state
        last = hidden.flatten(0, 1).index_select(0, batch.ends)
        return _as_scores(classifier.score(last.to(_weight_dtype(classifier.score))))


TOLERANCE = 1e-4
"""Relative, on sums of log-probabilities in fp32. Rounding stays below 1e-6 in small models; what is wrong can be as
small as 1e-3 where the weights are still near 0."""


def agree(one: Tensor, other: Tensor) -> bool:
    """Whether two ways to the same sums give the same numbers, to within rounding."""
    return bool(((one - other).abs() <= TOLERANCE * (1 + other.abs())).all())


@torch.no_grad()
def find_savings(scorer: PolicyScorer | RewardScorer, plain: Batch, shared: Batch, longest: int) -> tuple[bool, bool]:
    """Whether hidden states may be read past the head, and whether prompts may be shared, for this architecture.

    ``plain`` and ``shared`` hold the same rows in two layouts; ``longest`` is the length of the longest sequence of
    all. Leaves ``scorer.reads_hidden_states`` set.
    """
    autocast, scorer.autocast = scorer.autocast, None  # differences of bf16 would hide those of the architecture
    found: Tensor | None = None
    if isinstance(scorer, PolicyScorer):
        scorer.reads_hidden_states = False
        expected, reads = scorer(plain), False
        with contextlib.suppress(AttributeError):  # a model whose body or head cannot be told from the rest
            scorer.reads_hidden_states = True
            found = scorer(plain)
            reads = agree(found, expected) and not _caps_logits(_unwrap(scorer.model))
        scorer.reads_hidden_states = reads
    shares = False
    if scorer.reads_hidden_states and longest <= find_window(_unwrap(scorer.model)):
        with contextlib.suppress(RuntimeError, TypeError, ValueError):  # a model that takes no such mask or positions
            sides = len(plain.side_rows)  # the prompts' sums are not asked for in both
            shares = agree(scorer(shared)[:sides], (scorer(plain) if found is None else found)[:sides])
    scorer.autocast = autocast
    return scorer.reads_hidden_states, shares


def find_window(model: Any) -> float:
    """How many tokens back every layer sees: a mask of ours would take a shorter window away. inf without windows."""
    config = model.config.get_text_config()
    if "local" in (getattr(config, "attention_layers", None) or ()):
        return 0  # GPT-Neo's windows count places in the row, whatever mask it is given
    layers = getattr(config, "layer_types", None)
    sliding = any("sliding" in kind or "chunked" in kind for kind in layers) if layers else True
    sizes = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min([float(size) for size in sizes if size], default=math.inf) if sliding else math.inf


def _caps_logits(model: Any) -> bool:
    """Whether something bends the head's logits that the small ones of a random model would not show (Gemma 2)."""
    return bool(getattr(model.config.get_text_config(), "final_logit_softcapping", None))


def _inputs(model: Any, batch: Batch, *, mask_padding: bool = False) -> dict[str, Any]:
    """What the model is called with. A plain row needs no mask: its padding stands on the right, where causal attention
    does not look."""
    inputs: dict[str, Any] = {"input_ids": batch.input_ids}
    if batch.trees is not None and batch.branches is not None and batch.position_ids is not None:
        inputs["position_ids"] = batch.position_ids
        inputs["attention_mask"] = _make_mask(model.config._attn_implementation, batch.trees, batch.branches)
    elif mask_padding:
        width = batch.input_ids.shape[1]
        steps = torch.arange(width, device=batch.row_lengths.device)
        inputs["attention_mask"] = (steps < batch.row_lengths[:, None]).long()
    return inputs


def _make_mask(attention: str, trees: Tensor, branches: Tensor) -> Tensor | BlockMask:
    """Who sees whom, in the form that the model's attention takes."""
    if attention == "flex_attention":
        return make_block_mask(trees, branches)
    if attention == TREES:
        return make_table(trees, branches)
    sees = make_mask(trees, branches)
    if attention == "sdpa":
        return sees
    # Added to the attention scores.
    return torch.zeros(sees.shape, device=sees.device).masked_fill(~sees, torch.finfo(torch.bfloat16).min)


def _unwrap(model: Any) -> Any:
    """The transformers model under a LoRA wrapper, adapters in place."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _as_scores(output: Tensor) -> Tensor:
    return output.squeeze(-1).float()


def _weight_dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def _autocast(device: torch.device, dtype: torch.dtype | None) -> torch.autocast:
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)
