"""How far the layouts of the engine agree, for small random models of several architectures."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.tiny_models import TINY_VOCABULARY, make_tiny_architecture
from training.engine.attention import TREES
from training.engine.batches import Arrangement, collate
from training.engine.data import Row
from training.engine.layouts import PACKED, PLAIN, SHARED
from training.engine.logps import PolicyScorer, find_savings
from training.engine.methods.base import sum_replies

WITHOUT_MASK = "without mask"
LONGEST_PROMPT, LONGEST_REPLY = 40, 20
ARCHITECTURES = ("llama", "qwen2", "gpt2", "gemma3_text")
"""By transformers' names. A window is longer than these sequences: a shorter one would rule sharing out."""


def compare_layouts(architecture: str) -> dict[str, tuple[float, float]]:
    """By layout the largest difference from prompts repeated: of log-probabilities and of the gradient, relative.

    Raises ValueError when the engine would not share prompts for this architecture.
    """
    scorer = PolicyScorer(make_tiny_architecture(architecture))
    rows = make_rows()
    plain, shared = (collate(rows[:2], Arrangement(0, layout=layout)) for layout in (PLAIN, SHARED))
    _reads_hidden_states, shares = find_savings(scorer, plain, shared, max(row.length for row in rows))
    if not shares:
        raise ValueError(f"{architecture} does not share prompts")
    outcomes = {layout: _score(scorer, rows, layout) for layout in (PLAIN, SHARED, PACKED)}
    scorer.model.set_attn_implementation(TREES)  # what a run on a CPU takes
    outcomes[WITHOUT_MASK] = _score(scorer, rows, PACKED)
    expected, slope = outcomes.pop(PLAIN)
    return {
        layout: (float(((sums - expected) / expected).abs().max()), relate_gradients(gradient, slope))
        for layout, (sums, gradient) in outcomes.items()
    }


def make_rows(count: int = 6) -> list[Row]:
    """Pairs of random tokens and varied lengths."""
    rng = random.Random(0)

    def draw(longest: int) -> list[int]:
        return [rng.randrange(1, TINY_VOCABULARY) for _token in range(rng.randrange(3, longest + 1))]

    return [
        Row(draw(LONGEST_PROMPT), (draw(LONGEST_REPLY), draw(LONGEST_REPLY)), labels=(True, False))
        for _row in range(count)
    ]


def relate(ours: float, theirs: float) -> float:
    """Relative difference."""
    return abs(ours - theirs) / abs(theirs)


def relate_gradients(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """Norm of the difference of two gradients by weight, relative to the norm of the second.

    Raises ValueError when they belong to other weights.
    """
    if ours.keys() != theirs.keys():
        raise ValueError(f"other weights: {sorted(ours.keys() ^ theirs.keys())}")
    gap = torch.stack([(ours[name] - theirs[name]).norm() for name in theirs]).norm()
    return float(gap / torch.stack([gradient.norm() for gradient in theirs.values()]).norm())


def read_gradient(model: nn.Module) -> dict[str, Tensor]:
    """The gradient of every weight that has one."""
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def _score(scorer: PolicyScorer, rows: list[Row], layout: str) -> tuple[Tensor, dict[str, Tensor]]:
    """Summed log-probabilities of the replies and the gradient of a loss over them."""
    batch = collate(rows, Arrangement(0, layout=layout, capacity=256))
    if (batch.trees is None) != (layout == PLAIN):
        raise ValueError("these rows are not worth sharing")
    scorer.zero_grad()
    sums = sum_replies(scorer(batch), batch)
    chosen, rejected = sums.chunk(2)
    loss = -F.logsigmoid(0.1 * (chosen - rejected)).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    return sums.detach(), {name: gradient.clone() for name, gradient in read_gradient(scorer.model).items()}
