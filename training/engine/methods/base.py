"""What a method is to the loop: terms of a loss for each row, and what it logs; with what several methods share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.engine.batches import Batch
from training.engine.data import Row


@dataclass
class Terms:
    """A batch's part of the loss, not yet averaged: the loop divides by all rows and tokens of the step.

    So the loss of a step does not depend on how its rows were spread over micro-batches and processes.
    """

    row_loss: Tensor
    """[B]: averaged over what ``count_units`` counts"""
    logged: dict[str, Tensor]
    """[B] each, detached: averaged over rows; NaN where a row has no such value"""
    token_loss: Tensor | None = None
    """[B]: summed over a row's tokens, to be averaged over tokens"""


class Method:
    """One way to learn from preferences.

    ``scores`` is what the scorer gives for a batch (see logps.py): for a policy summed log-probabilities of segments
    [S + B], the replies' first, then the prompts'; for a reward model scores [S].
    """

    name: str
    trains_reward_model = False
    needs_reference = False
    needs_kl = False
    """Whether the KL divergence from the reference is estimated in every step, on replies to other prompts."""
    reads_prompt = False
    """Whether the prompt's log-probabilities are read too."""
    token_weight = 1.0
    """What the average of ``token_loss`` is multiplied by."""
    sides: int | None = None
    """How many replies of a row are trained on; None means all. Evaluation reads all."""

    def count_units(self, row: Row) -> int:
        """What ``row_loss`` is averaged over: one for each row unless a method counts replies."""
        return 1

    def count_tokens(self, row: Row) -> int:
        """Tokens that ``token_loss`` of this row sums over."""
        return 0

    def compute_terms(self, scores: Tensor, batch: Batch) -> Terms:
        """The loss terms of a batch."""
        raise NotImplementedError


def sum_replies(scores: Tensor, batch: Batch) -> Tensor:
    """[S] summed log-probabilities of the replies."""
    return scores[: len(batch.counts)]


def average_replies(scores: Tensor, batch: Batch) -> Tensor:
    """[S] mean log-probability a token of the replies."""
    return sum_replies(scores, batch) / batch.counts.clamp(min=1)


def compare_with_reference(scores: Tensor, batch: Batch) -> Tensor:
    """[S] summed log π(y|x) − log π_ref(y|x)."""
    if batch.reference_logps is None:
        raise ValueError("the reference's log-probabilities are missing")
    return sum_replies(scores, batch) - batch.reference_logps


def split_pairs(values: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Values [2B] of the chosen and of the rejected sides, each [B]."""
    if len(values) != 2 * len(batch.margins):
        raise ValueError(f"{len(values)} sides do not make {len(batch.margins)} pairs")
    chosen, rejected = values.chunk(2)
    return chosen, rejected


def logistic_loss(logits: Tensor, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
    """[B] Bradley-Terry loss of preference logits z [B], as all logistic methods have it.

        L = −q·log σ(z − m) − (1 − q)·log σ(m − z)

    m is the margin of the pair's grade and q the probability that the label is right: 1, or the soft label, and under
    ``label_smoothing`` ε moved to q(1 − ε) + (1 − q)ε. At its minimum σ(z − m) = q, so the offset m adds to the gap
    that the label alone asks for (Llama 2, arXiv 2307.09288, eq. 2; ODPO, arXiv 2402.10571).
    """
    if logits.shape != batch.margins.shape:  # [B, 1] − [B] would silently mix all pairs
        raise ValueError(f"shapes differ: {logits.shape}, {batch.margins.shape}")
    excess = logits - batch.margins
    right = batch.soft_labels * (1 - 2 * label_smoothing) + label_smoothing
    return -right * F.logsigmoid(excess) - (1 - right) * F.logsigmoid(-excess)


def log_rewards(chosen: Tensor, rejected: Tensor) -> dict[str, Tensor]:
    """The curves that every method shares: a tie is no success, and a row without one of the sides (NaN) no try."""
    chosen, rejected = chosen.detach(), rejected.detach()
    gap = chosen - rejected
    return {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": gap,
        "rewards/accuracies": torch.where(gap.isnan(), gap, (gap > 0).float()),
    }


def log_pair(scale: float, chosen: Tensor, rejected: Tensor) -> dict[str, Tensor]:
    """Rewards and log-probabilities of methods whose reward is the log-probability times β."""
    logged = log_rewards(scale * chosen, scale * rejected)
    return logged | {"logps/chosen": chosen.detach(), "logps/rejected": rejected.detach()}


def negative_log_likelihood(scores: Tensor, batch: Batch) -> Tensor:
    """[B] summed over the tokens of each row's first reply."""
    return -scores[: len(batch.margins)]


def prompt_logps(scores: Tensor, batch: Batch) -> Tensor:
    """[B] summed log-probabilities of the prompts; 0 unless the method reads them."""
    return scores[len(batch.counts) :]


def count_predicted(row: Row, reply: int = 0) -> int:
    """Tokens of a reply that are predicted: without a prompt the first one is not."""
    return len(row.replies[reply]) - (0 if row.prompt else 1)


def pick_side(values: Tensor, batch: Batch, *, wanted: bool) -> Tensor:
    """[B]: each row's value [S] of its wanted (unwanted) side; NaN where it has none."""
    mine = batch.labels == wanted
    picked = torch.full_like(batch.margins, torch.nan)
    return picked.index_put((batch.side_rows[mine],), values[mine])


def per_row(values: Tensor, batch: Batch) -> Tensor:
    """[B] sums over each row's sides of values [S]."""
    return torch.zeros_like(batch.margins).index_add(0, batch.side_rows, values)
