"""What the first process of a run tells the others: only it reads what a former attempt left, the others may lie on
machines that have no such files.

Everything travels as bytes in tensors, so that nobody unpickles what comes over the network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor


def share_json(accelerator: Accelerator, find: Callable[[], Any]) -> Any:
    """What ``find`` gives in the first process, in all of them. All have to ask."""
    if accelerator.num_processes == 1:
        return find()
    value = find() if accelerator.is_main_process else None
    return json.loads(_share_bytes(accelerator, json.dumps(value).encode()))


def share_tensors(accelerator: Accelerator, read: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The same for named tensors, which arrive on the CPU; the device holds one at a time."""
    if accelerator.num_processes == 1:
        return dict(read())
    found = read() if accelerator.is_main_process else {}
    shapes = {name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)) for name, tensor in found.items()}
    received = {}
    for name, (dtype, shape) in share_json(accelerator, lambda: shapes).items():
        tensor = found.get(name, torch.empty(0)).contiguous()
        if not accelerator.is_main_process:
            tensor = torch.empty(shape, dtype=getattr(torch, dtype))
        raw = tensor.reshape(-1).view(torch.uint8).to(accelerator.device)
        if raw.numel():
            torch.distributed.broadcast(raw, src=0)
        received[name] = raw.cpu().view(tensor.dtype).reshape(tensor.shape)
    return received


def _share_bytes(accelerator: Accelerator, data: bytes) -> bytes:
    """``data`` of the first process."""
    size = torch.tensor([len(data)], device=accelerator.device)
    torch.distributed.broadcast(size, src=0)
    raw = torch.zeros(int(size), dtype=torch.uint8, device=accelerator.device)
    if accelerator.is_main_process:
        raw = torch.frombuffer(bytearray(data), dtype=torch.uint8).to(accelerator.device)
    torch.distributed.broadcast(raw, src=0)
    return raw.cpu().numpy().tobytes()
