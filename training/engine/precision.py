"""Which arithmetic the forward pass uses where the settings leave it open."""

from __future__ import annotations

import time

import torch

WORTHWHILE = 1.5
"""bf16 has to be this much faster: its three digits are a price."""


def prefers_bf16(device: torch.device) -> bool:
    """Whether the hardware is made for bf16: asked of a GPU, measured on a CPU."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
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
