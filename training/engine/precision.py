"""Which arithmetic the forward pass uses where the settings leave it open."""

from __future__ import annotations

import time

import torch

WORTHWHILE = 1.5
"""bf16 has to be this much faster: its three digits are a price."""


def choose_bf16(precision: str, device: torch.device) -> bool:
    """Whether the forward pass runs in bf16: as ``precision`` says, or for ``auto`` where the hardware is made for it."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and _time_product(torch.float32) > WORTHWHILE * _time_product(torch.bfloat16)


def _time_product(dtype: torch.dtype, size: int = 384, repeats: int = 5) -> float:
    """CPU seconds of one square matrix product, the best of a few: about 3 ms each in fp32."""
    left, right = torch.ones(size, size, dtype=dtype), torch.ones(size, size, dtype=dtype)
    times = []
    for _attempt in range(repeats):
        start = time.process_time()
        torch.mm(left, right)
        times.append(time.process_time() - start)
    return min(times[1:])
