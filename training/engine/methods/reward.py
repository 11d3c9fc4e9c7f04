"""Reward model: a Bradley-Terry likelihood with a margin for how clear the judgment was.

    L = −log σ(s_chosen − s_rejected − m)  [+ c·(s_chosen + s_rejected)²]

Margin: Llama 2 (arXiv 2307.09288), equation 2. Centring: Eisenstein et al. (arXiv 2312.09244).
"""

from __future__ import annotations

from torch import Tensor

from training.engine.batches import Batch
from training.engine.config import TrainingConfig
from training.engine.methods.base import Method, Terms, log_rewards, logistic_loss, split_pairs


class RewardMethod(Method):
    name = "reward"
    trains_reward_model = True

    def __init__(self, config: TrainingConfig) -> None:
        self.center = config.center_rewards

    def compute_terms(self, scores: Tensor, batch: Batch) -> Terms:
        """``scores`` [2B] of the chosen, then of the rejected conversations."""
        chosen, rejected = split_pairs(scores, batch)
        loss = logistic_loss(chosen - rejected, batch)
        if self.center:
            loss = loss + self.center * (chosen + rejected).square()
        logged = log_rewards(chosen, rejected)
        logged |= {"accuracy": logged["rewards/accuracies"], "margin": logged["rewards/margins"]}
        return Terms(loss, logged)
