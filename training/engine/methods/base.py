"""What a method is to the loop: terms of a loss for each pair, and what it logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from training.engine.batches import Batch
from training.engine.data import Row


@dataclass
class Terms:
    """A batch's part of the loss, not yet averaged: the loop divides by all pairs and tokens of the step.

    So the loss of a step does not depend on how its pairs were spread over micro-batches and processes.
    """

    pair_loss: Tensor
    """[B]: averaged over pairs"""
    logged: dict[str, Tensor]
    """[B] each, detached: averaged over pairs"""
    token_loss: Tensor | None = None
    """[B]: summed over a pair's tokens, to be averaged over tokens"""


class Method(Protocol):
    """One way to learn from pairs; the scorer's output is token log-probabilities or scores (see ``logps.py``)."""

    name: str
    trains_reward_model: bool
    needs_reference: bool
    reads_prompt: bool
    """Whether the chosen side's prompt log-probabilities are read too."""

    def count_tokens(self, row: Row) -> int:
        """Tokens that ``token_loss`` of this row sums over."""

    def compute_terms(self, scores: Tensor, batch: Batch) -> Terms:
        """The loss terms of a batch."""


def log_rewards(chosen: Tensor, rejected: Tensor) -> dict[str, Tensor]:
    """The curves that every method shares; a tie is no success."""
    chosen, rejected = chosen.detach(), rejected.detach()
    return {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": chosen - rejected,
        "rewards/accuracies": (chosen > rejected).float(),
    }
