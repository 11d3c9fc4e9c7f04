"""The machine's best at matrix products on one thread, operations a CPU second, as one JSON line.

python -m benchmarks.peak
"""

from __future__ import annotations

import json
import time

import torch

SIZE = 2048
REPEATS = 8


def measure(dtype: torch.dtype) -> float:
    """Operations a CPU second of the fastest of a few square products."""
    left, right = torch.ones(SIZE, SIZE, dtype=dtype), torch.ones(SIZE, SIZE, dtype=dtype)
    times = []
    for _attempt in range(REPEATS):
        start = time.process_time()
        torch.mm(left, right)
        times.append(time.process_time() - start)
    return 2 * SIZE**3 / min(times)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({"bf16": measure(torch.bfloat16), "fp32": measure(torch.float32)}))
