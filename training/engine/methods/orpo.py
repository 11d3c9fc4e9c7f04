"""ORPO: language modelling on the chosen reply and an odds ratio against the rejected one; no reference model.

    odds(y) = P(y) / (1 − P(y)),  log P(y) = mean log-probability a token
    L = NLL(chosen) − β·log σ(log odds(y_w) − log odds(y_l))

Hong, Lee & Thorne (arXiv 2403.07691), equations 6 and 7. The NLL covers prompt and chosen reply, as their code has it,
or the reply alone.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from training.engine.batches import Batch
from training.engine.config import TrainingConfig
from training.engine.data import Row
from training.engine.logps import average_completions
from training.engine.methods.base import Terms, log_rewards

LARGEST_LOGP = -1e-7
"""Where 1 − P would round to 0 in fp32 (the odds of a certainty are infinite)."""


def log1mexp(x: Tensor) -> Tensor:
    """log(1 − exp x) for x < 0, exact near both ends (Mächler 2012); inputs are clamped below 0."""
    x = x.float().clamp(max=LARGEST_LOGP)
    far = x < -math.log(2)
    # Both branches are computed; each gets a harmless input where it is not taken, so that no gradient is NaN.
    by_log1p = torch.log1p(-torch.exp(torch.where(far, x, -1.0)))
    by_expm1 = torch.log(-torch.expm1(torch.where(far, -0.1, x)))
    return torch.where(far, by_log1p, by_expm1)


def log_odds_ratio(chosen: Tensor, rejected: Tensor) -> Tensor:
    """[B] log odds of the chosen over the rejected reply, from mean log-probabilities [B]."""
    return (chosen - rejected) - (log1mexp(chosen) - log1mexp(rejected))


class ORPOMethod:
    name = "orpo"
    trains_reward_model = False
    needs_reference = False

    def __init__(self, config: TrainingConfig) -> None:
        self.beta = config.beta
        self.reads_prompt = config.nll_over == "prompt and chosen"

    def count_tokens(self, row: Row) -> int:
        length = len(row.pair.prompt) + len(row.pair.chosen)
        return length - 1 if self.reads_prompt else length - max(1, len(row.pair.prompt))

    def compute_terms(self, scores: Tensor, batch: Batch) -> Terms:
        """``scores`` [2B, T-1] token log-probabilities, those of the chosen side's prompt included if read."""
        chosen, rejected = average_completions(scores, batch)
        ratio = log_odds_ratio(chosen, rejected)
        mask = batch.token_mask if self.reads_prompt else batch.completion_mask
        nll = -(scores * mask).chunk(2)[0].sum(-1)
        log_sigmoid = F.logsigmoid(ratio)
        logged = log_rewards(self.beta * chosen, self.beta * rejected)
        logged |= {
            "logps/chosen": chosen.detach(),
            "logps/rejected": rejected.detach(),
            "log_odds_ratio": log_sigmoid.detach(),
            "log_odds_chosen": ratio.detach(),
        }
        return Terms(pair_loss=-self.beta * log_sigmoid, logged=logged, token_loss=nll)
