"""CPO: DPO without a reference, held to good replies by a language modelling term.

    L = −log σ(β·(log π(y_w|x) − log π(y_l|x)) − m) + α·NLL(chosen reply)

Xu et al. (arXiv 2401.08417), equations 4 to 6, log-probabilities summed over the reply.
"""

from __future__ import annotations

from torch import Tensor

from training.engine.batches import Batch
from training.engine.config import TrainingConfig
from training.engine.data import Row
from training.engine.methods.base import (
    Method,
    Terms,
    count_predicted,
    log_pair,
    logistic_loss,
    negative_log_likelihood,
    split_pairs,
    sum_replies,
)


class CPOMethod(Method):
    name = "cpo"

    def __init__(self, config: TrainingConfig) -> None:
        self.beta, self.label_smoothing, self.token_weight = config.beta, config.label_smoothing, config.nll_weight

    def count_tokens(self, row: Row) -> int:
        return count_predicted(row) if self.token_weight else 0

    def compute_terms(self, scores: Tensor, batch: Batch) -> Terms:
        """``scores`` [2B + B] summed log-probabilities."""
        chosen, rejected = split_pairs(sum_replies(scores, batch), batch)
        loss = logistic_loss(self.beta * (chosen - rejected), batch, self.label_smoothing)
        nll = negative_log_likelihood(scores, batch) if self.token_weight else None
        return Terms(loss, log_pair(self.beta, chosen, rejected), token_loss=nll)
