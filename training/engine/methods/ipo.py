"""IPO: a squared loss that pulls the log-ratio gap to a finite target, where DPO would push it on for ever.

    h = (log π(y_w|x) − log π_ref(y_w|x)) / |y_w| − (log π(y_l|x) − log π_ref(y_l|x)) / |y_l|
    L = q·(h − τ)² + (1 − q)·(h + τ)²,  τ = (1/2 + m) / β

Azar et al. (arXiv 2310.12036), equation 17 (their τ is our β). They average over tokens, as their authors confirmed to
TRL's; ``sum`` leaves out the division by |y|. A margin m shifts the target by m/β, as it shifts the reward gap of DPO
by m, and 1 − q is the share of votes for the other side.
"""

from __future__ import annotations

from torch import Tensor

from training.engine.batches import Batch
from training.engine.config import TrainingConfig
from training.engine.methods.base import (
    Method,
    Terms,
    compare_with_reference,
    log_rewards,
    split_pairs,
    sum_replies,
)


def ipo_loss(gap: Tensor, batch: Batch, beta: float) -> Tensor:
    """[B] from h [B]."""
    target = (0.5 + batch.margins) / beta
    return batch.soft_labels * (gap - target).square() + (1 - batch.soft_labels) * (gap + target).square()


class IPOMethod(Method):
    name = "ipo"
    needs_reference = True

    def __init__(self, config: TrainingConfig) -> None:
        self.beta, self.averages = config.beta, config.ipo_average == "mean"

    def compute_terms(self, scores: Tensor, batch: Batch) -> Terms:
        """``scores`` [2B + B] summed log-probabilities; ``batch.reference_logps`` [2B]."""
        ratios = compare_with_reference(scores, batch)
        if self.averages:
            ratios = ratios / batch.counts.clamp(min=1)
        chosen, rejected = split_pairs(ratios, batch)
        logps = split_pairs(sum_replies(scores, batch).detach(), batch)
        logged = log_rewards(self.beta * chosen, self.beta * rejected)
        logged |= {"logps/chosen": logps[0], "logps/rejected": logps[1]}
        return Terms(ipo_loss(chosen - rejected, batch, self.beta), logged)
