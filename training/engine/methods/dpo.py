"""DPO: the policy's own log-probabilities, relative to the reference's, serve as the reward.

    z = β·[(log π(y_w|x) − log π_ref(y_w|x)) − (log π(y_l|x) − log π_ref(y_l|x))]
    sigmoid   L = −(1−ε)·log σ(z − m) − ε·log σ(m − z)
    robust    L = [−(1−ε)·log σ(z − m) + ε·log σ(m − z)] / (1 − 2ε)
    hinge     L = max(0, 1 − (z − m))

Rafailov et al. (arXiv 2305.18290), equation 7, log-probabilities summed over the reply; ε > 0 is conservative DPO (the
label is wrong with probability ε). Robust: Chowdhury et al. (arXiv 2403.00409), equation 8, unbiased when a share ε of
the labels is flipped. Hinge: SLiC (arXiv 2305.10425) as in RSO (arXiv 2309.06657). m > 0 asks for a reward gap that
grows with the grade (ODPO, arXiv 2402.10571); soft labels q take the place of 1 as in ``logistic_loss``.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from training.engine.batches import Batch
from training.engine.config import TrainingConfig
from training.engine.methods.base import (
    Method,
    Terms,
    compare_with_reference,
    log_rewards,
    logistic_loss,
    split_pairs,
    sum_replies,
)


def robust_loss(logits: Tensor, batch: Batch, flipped: float) -> Tensor:
    """[B] from z [B]: what the loss on clean labels would be on average, given that ``flipped`` of them are wrong."""
    excess = logits - batch.margins
    as_labelled, as_flipped = -F.logsigmoid(excess), -F.logsigmoid(-excess)
    right = batch.soft_labels * as_labelled + (1 - batch.soft_labels) * as_flipped
    wrong = batch.soft_labels * as_flipped + (1 - batch.soft_labels) * as_labelled
    return ((1 - flipped) * right - flipped * wrong) / (1 - 2 * flipped)


def hinge_loss(logits: Tensor, batch: Batch) -> Tensor:
    """[B] from z [B]; a soft label counts the pair both ways round."""
    excess = logits - batch.margins
    return batch.soft_labels * F.relu(1 - excess) + (1 - batch.soft_labels) * F.relu(1 + excess)


class DPOMethod(Method):
    name = "dpo"
    needs_reference = True

    def __init__(self, config: TrainingConfig) -> None:
        self.beta, self.loss, self.label_smoothing = config.beta, config.dpo_loss, config.label_smoothing

    def compute_terms(self, scores: Tensor, batch: Batch) -> Terms:
        """``scores`` [2B + B] summed log-probabilities; ``batch.reference_logps`` [2B]."""
        chosen, rejected = split_pairs(self.beta * compare_with_reference(scores, batch), batch)
        if self.loss == "hinge":
            loss = hinge_loss(chosen - rejected, batch)
        elif self.loss == "robust":
            loss = robust_loss(chosen - rejected, batch, self.label_smoothing)
        else:
            loss = logistic_loss(chosen - rejected, batch, self.label_smoothing)
        logps = split_pairs(sum_replies(scores, batch).detach(), batch)
        logged = log_rewards(chosen, rejected) | {"logps/chosen": logps[0], "logps/rejected": logps[1]}
        return Terms(loss, logged)
