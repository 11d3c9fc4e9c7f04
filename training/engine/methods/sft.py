"""SFT: language modelling on the wanted reply alone, the prompt masked; what ORPO and SimPO start from.

    L = −Σ_t log π(y_t | x, y_<t) / number of reply tokens in the step

Of a pair the chosen reply is learned. The rejected one is only looked at in evaluation: its log-probability rises too
(ORPO, arXiv 2403.07691, figure 3), which is why SFT alone does not teach a preference.
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
    average_replies,
    count_predicted,
    log_rewards,
    negative_log_likelihood,
    pick_side,
)


class SFTMethod(Method):
    name = "sft"
    sides = 1

    def __init__(self, config: TrainingConfig) -> None:
        pass

    def count_tokens(self, row: Row) -> int:
        return count_predicted(row)

    def compute_terms(self, scores: Tensor, batch: Batch) -> Terms:
        """``scores`` [S + B]; S is B in training and more where pairs are evaluated."""
        averages = average_replies(scores, batch).detach()
        chosen, rejected = (pick_side(averages, batch, wanted=wanted) for wanted in (True, False))
        rewards = log_rewards(chosen.where(~rejected.isnan(), torch.nan), rejected)  # rewards are for comparing
        logged = rewards | {"logps/chosen": chosen, "logps/rejected": rejected}
        return Terms(torch.zeros_like(batch.margins), logged, token_loss=negative_log_likelihood(scores, batch))
