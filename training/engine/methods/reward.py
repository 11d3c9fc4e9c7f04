"""Reward model: a Bradley-Terry likelihood with a margin for how clear the judgment was.

    L = −log σ(s_chosen − s_rejected − m)  [+ c·(s_chosen + s_rejected)²]

Margin: Llama 2 (arXiv 2307.09288), equation 2. Centring: Eisenstein et al. (arXiv 2312.09244).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from training.engine.batches import Batch
from training.engine.config import TrainingConfig
from training.engine.data import Row
from training.engine.methods.base import Terms, log_rewards


def reward_loss(chosen: Tensor, rejected: Tensor, margins: Tensor, center: float = 0.0) -> Tensor:
    """[B] losses from scores [B] and margins [B]."""
    if not chosen.shape == rejected.shape == margins.shape:  # [B,1] − [B] would silently mix all pairs
        raise ValueError(f"shapes differ: {chosen.shape}, {rejected.shape}, {margins.shape}")
    loss = -F.logsigmoid(chosen - rejected - margins)
    return loss + center * (chosen + rejected).square() if center else loss


class RewardMethod:
    name = "reward"
    trains_reward_model = True
    needs_reference = False
    reads_prompt = False

    def __init__(self, config: TrainingConfig) -> None:
        self.center = config.center_rewards

    def count_tokens(self, row: Row) -> int:
        return 0

    def compute_terms(self, scores: Tensor, batch: Batch) -> Terms:
        """``scores`` [2B] of the chosen, then of the rejected conversations."""
        chosen, rejected = scores.chunk(2)
        logged = log_rewards(chosen, rejected)
        logged |= {"accuracy": logged["rewards/accuracies"], "margin": logged["rewards/margins"]}
        return Terms(pair_loss=reward_loss(chosen, rejected, batch.margins, self.center), logged=logged)
