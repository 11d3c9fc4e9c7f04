"""ORPO: language modelling on the chosen reply and an odds ratio against the rejected one; no reference model.

    odds(y) = P(y) / (1 − P(y)),  log P(y) = mean log-probability a token
    z = log odds(y_w) − log odds(y_l)
    L = NLL(chosen) − β·log σ(z − m)

Hong, Lee & Thorne (arXiv 2403.07691), equations 6 and 7. The NLL covers prompt and chosen reply, as their code has it,
or the reply alone. A margin m asks for log odds that differ by more.
"""

from __future__ import annotations

import math

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
    prompt_logps,
    split_pairs,
)

LARGEST_LOGP = -1e-7
"""Where 1 − P would round to 0 in fp32 (the odds of a certainty are infinite)."""


def log1mexp(x: Tensor) -> Tensor:
    """log(1 − exp x) for x < 0, exact near both ends (Mächler 2012); inputs are clamped below 0."""
    x = x.float().clamp(max=LARGEST_LOGP)
    # Both are computed. With x away from 0 both are finite, so that the one not taken makes no gradient NaN.
    return torch.where(x < -math.log(2), torch.log1p(-torch.exp(x)), torch.log(-torch.expm1(x)))


def log_odds_ratio(chosen: Tensor, rejected: Tensor) -> Tensor:
    """[B] log odds of the chosen over the rejected reply, from mean log-probabilities [B]."""
    return (chosen - rejected) - (log1mexp(chosen) - log1mexp(rejected))


class ORPOMethod(Method):
    name = "orpo"

    def __init__(self, config: TrainingConfig) -> None:
        self.beta = config.beta
        self.reads_prompt = config.nll_over == "prompt and chosen"

    def count_tokens(self, row: Row) -> int:
        return count_predicted(row) + (max(0, len(row.prompt) - 1) if self.reads_prompt else 0)

    def compute_terms(self, scores: Tensor, batch: Batch) -> Terms:
        """``scores`` [2B + B] summed log-probabilities, the prompts' last if they are read."""
        chosen, rejected = split_pairs(average_replies(scores, batch), batch)
        ratio = log_odds_ratio(chosen, rejected)
        loss = logistic_loss(ratio, batch)
        logged = log_pair(self.beta, chosen, rejected)
        logged |= {"log_odds_ratio": -loss.detach(), "log_odds_chosen": ratio.detach()}
        nll = negative_log_likelihood(scores, batch) - prompt_logps(scores, batch)
        return Terms(self.beta * loss, logged, token_loss=nll)
