"""SimPO: the average log-probability a token is the reward, with a target margin; no reference.

    L = −log σ(β·(log π(y_w|x)/|y_w| − log π(y_l|x)/|y_l|) − γ − m) [+ α·NLL(chosen reply)]

Meng et al. (arXiv 2405.14734), equation 6; γ is given as a share of β, as their advice is. The language modelling term
is not theirs (CPO-SimPO) and off by default.
"""

from __future__ import annotations

from torch import Tensor

from training.engine.batches import Batch
from training.engine.config import TrainingConfig
from training.engine.data import Row
from training.engine.methods.base import (
    Method,
    Terms,
    average_replies,
    count_predicted,
    log_pair,
    logistic_loss,
    negative_log_likelihood,
    split_pairs,
)


class SimPOMethod(Method):
    name = "simpo"

    def __init__(self, config: TrainingConfig) -> None:
        self.beta, self.gamma = config.beta, config.gamma_ratio * config.beta
        self.label_smoothing, self.token_weight = config.label_smoothing, config.nll_weight

    def count_tokens(self, row: Row) -> int:
        return count_predicted(row) if self.token_weight else 0

    def compute_terms(self, scores: Tensor, batch: Batch) -> Terms:
        """``scores`` [2B + B] summed log-probabilities."""
        chosen, rejected = split_pairs(average_replies(scores, batch), batch)
        loss = logistic_loss(self.beta * (chosen - rejected) - self.gamma, batch, self.label_smoothing)
        nll = negative_log_likelihood(scores, batch) if self.token_weight else None
        return Terms(loss, log_pair(self.beta, chosen, rejected), token_loss=nll)
