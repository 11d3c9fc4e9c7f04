"""KTO: each reply by itself is wanted or not; losses weigh more than gains, as in prospect theory.

    r = log π(y|x) − log π_ref(y|x),  z₀ = max(0, mean over replies y' to other prompts of the same)
    wanted      L = λ_D·(1 − σ(β(r − z₀) − m/2))
    not wanted  L = λ_U·(1 − σ(β(z₀ − r) − m/2))

Ethayarajh et al. (arXiv 2402.01306), equations 6 to 8. z₀ estimates KL(π, π_ref) over the whole step, all processes and
micro-batches, without gradient, so accumulation equals one big batch. A pair is two replies; its margin asks each of
them for half of the gap.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.engine.batches import Batch
from training.engine.config import TrainingConfig
from training.engine.data import Row
from training.engine.methods.base import (
    Method,
    Terms,
    compare_with_reference,
    log_rewards,
    per_row,
    pick_side,
    sum_replies,
)


class KTOMethod(Method):
    name = "kto"
    needs_reference = True
    needs_kl = True

    def __init__(self, config: TrainingConfig) -> None:
        self.beta = config.beta
        self.weights = config.desirable_weight, config.undesirable_weight

    def count_units(self, row: Row) -> int:
        return len(row.replies)

    def compute_terms(self, scores: Tensor, batch: Batch) -> Terms:
        """``scores`` [S + B] summed log-probabilities; ``batch.reference_logps`` [S] and ``batch.kl`` []."""
        if batch.kl is None:
            raise ValueError("the KL estimate is missing")
        ratios = compare_with_reference(scores, batch)
        gain = torch.where(batch.labels, ratios - batch.kl, batch.kl - ratios)
        desirable, undesirable = self.weights
        weights = torch.where(batch.labels, ratios.new_tensor(desirable), ratios.new_tensor(undesirable))
        losses = weights * (1 - torch.sigmoid(self.beta * gain - batch.margins[batch.side_rows] / 2))
        rewards = self.beta * ratios.detach()
        logps = sum_replies(scores, batch).detach()
        logged = log_rewards(*(pick_side(rewards, batch, wanted=wanted) for wanted in (True, False)))
        logged |= {
            "logps/chosen": pick_side(logps, batch, wanted=True),
            "logps/rejected": pick_side(logps, batch, wanted=False),
            "kl": batch.kl.detach().expand(len(batch.margins)),
        }
        return Terms(per_row(losses, batch), logged)
