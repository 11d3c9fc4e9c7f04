"""Where a program computes, and how much a model can take in."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel


def choose_device() -> tuple[torch.device, torch.dtype]:
    """A GPU in bf16 where there is one, else the CPU in fp32.

    On a CPU bf16 would be twice as fast, but the batch a row stands in then changes what is sampled from it.
    """
    if torch.cuda.is_available():
        return torch.device("cuda"), torch.bfloat16
    return torch.device("cpu"), torch.float32


def find_context_length(model: PreTrainedModel) -> int:
    """Tokens that the model can attend to; without a limit in its configuration, a million."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1_000_000)
