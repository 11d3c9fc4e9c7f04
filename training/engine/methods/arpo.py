"""ARPO: CPO that rejects the worse reply only as far as the two differ, since near-equal pairs teach little.

    p = min(c1·exp(c2·|log π(y_w|x)/|y_w| − log π(y_l|x)/|y_l||) − 1, 1)
    L = −log σ(β·(log π(y_w|x) − p·log π(y_l|x)) − m) + α·NLL(chosen reply)

Xu et al. (X-ALMA, arXiv 2410.03115), section 4. ``code`` is the form of the authors' program, with c1 = 0.9: there p is
−0.1 for equal replies (the rejected one is pushed up), 0 at a gap of 0.26 and 1 from 2.0 nats a token on (c2 = 0.4).
``paper`` has no c1, so p starts at 0. The gradient flows through p in both.
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
    log_pair,
    logistic_loss,
    negative_log_likelihood,
    split_pairs,
    sum_replies,
)


def adaptive_penalty(chosen: Tensor, rejected: Tensor, c1: float, c2: float) -> Tensor:
    """p [B] from mean log-probabilities [B]."""
    gap = (chosen - rejected).abs().clamp(max=50 / max(c2, 1e-6))  # beyond, exp would overflow where p is 1 anyway
    return (c1 * torch.exp(c2 * gap) - 1).clamp(max=1)


class ARPOMethod(Method):
    name = "arpo"

    def __init__(self, config: TrainingConfig) -> None:
        self.beta, self.label_smoothing, self.token_weight = config.beta, config.label_smoothing, config.nll_weight
        self.c1, self.c2 = config.arpo_c1 if config.arpo_form == "code" else 1.0, config.arpo_c2

    def count_tokens(self, row: Row) -> int:
        return count_predicted(row) if self.token_weight else 0

    def compute_terms(self, scores: Tensor, batch: Batch) -> Terms:
        """``scores`` [2B + B] summed log-probabilities."""
        chosen, rejected = split_pairs(sum_replies(scores, batch), batch)
        penalty = adaptive_penalty(*split_pairs(average_replies(scores, batch), batch), self.c1, self.c2)
        loss = logistic_loss(self.beta * (chosen - penalty * rejected), batch, self.label_smoothing)
        logged = log_pair(self.beta, chosen, rejected) | {"penalty": penalty.detach()}
        nll = negative_log_likelihood(scores, batch) if self.token_weight else None
        return Terms(loss, logged, token_loss=nll)
