"""DPO: the policy's own log-probabilities, relative to the reference's, serve as the reward.

    h = (log π(y_w|x) − log π_ref(y_w|x)) − (log π(y_l|x) − log π_ref(y_l|x))
    L = −(1−ε)·log σ(βh − m) − ε·log σ(−βh + m)

Rafailov et al. (arXiv 2305.18290), equation 7, log-probabilities summed over the reply. ε > 0 is conservative DPO (the
label is wrong with probability ε); m > 0 asks for a reward gap that grows with the grade (ODPO, arXiv 2402.10571).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from training.engine.batches import Batch
from training.engine.config import TrainingConfig
from training.engine.data import Row
from training.engine.logps import sum_completions
from training.engine.methods.base import Terms, log_rewards


def dpo_loss(scaled_gap: Tensor, margins: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """[B] losses from βh [B] and margins [B]."""
    if scaled_gap.shape != margins.shape:
        raise ValueError(f"shapes differ: {scaled_gap.shape}, {margins.shape}")
    excess = scaled_gap - margins
    loss = -F.logsigmoid(excess)
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * F.logsigmoid(-excess)
    return loss


class DPOMethod:
    name = "dpo"
    trains_reward_model = False
    needs_reference = True
    reads_prompt = False

    def __init__(self, config: TrainingConfig) -> None:
        self.beta = config.beta
        self.label_smoothing = config.label_smoothing

    def count_tokens(self, row: Row) -> int:
        return 0

    def compute_terms(self, scores: Tensor, batch: Batch) -> Terms:
        """``scores`` [2B, T-1] token log-probabilities; ``batch.reference_logps`` [2B]."""
        if batch.reference_logps is None:
            raise ValueError("DPO needs the reference's log-probabilities")
        chosen, rejected = sum_completions(scores, batch)
        reference_chosen, reference_rejected = batch.reference_logps.chunk(2)
        chosen_reward = self.beta * (chosen - reference_chosen)
        rejected_reward = self.beta * (rejected - reference_rejected)
        logged = log_rewards(chosen_reward, rejected_reward)
        logged |= {"logps/chosen": chosen.detach(), "logps/rejected": rejected.detach()}
        loss = dpo_loss(chosen_reward - rejected_reward, batch.margins, self.label_smoothing)
        return Terms(pair_loss=loss, logged=logged)
