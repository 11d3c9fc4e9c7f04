"""IPO: a squared loss that pulls the log-ratio gap to a finite target, where DPO would push it on for ever.

    h = (log π(y_w|x) − log π_ref(y_w|x)) / |y_w| − (log π(y_l|x) − log π_ref(y_l|x)) / |y_l|
    e = h − m/β
    L = q·(e − τ)² + (1 − q)·(e + τ)²,  τ = 1/(2β)

Azar et al. (arXiv 2310.12036), equation 17 (their τ is our β). They average over tokens, as their authors confirmed to
TRL's; ``sum`` leaves out the division by |y|. A margin m shifts the target by m/β, as it shifts the reward gap of DPO
by m, and 1 − q is the share of votes for the other side: the minimum is at e = (2q − 1)·τ.
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
    excess, target = gap - batch.margins / beta, 0.5 / beta
    return batch.soft_labels * (excess - target).square() + (1 - batch.soft_labels) * (excess + target).square()


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
