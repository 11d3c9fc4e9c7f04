"""AdamW, the learning rate as a pure function of the step, and the optimizer's state as named tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from training.engine.config import TrainingConfig

COSINE_FLOOR = 0.1
"""Cosine ends at this share of the peak (Llama 2, arXiv 2307.09288, section 3)."""


def learning_rate_at(step: int, total_steps: int, config: TrainingConfig) -> float:
    """Learning rate of step ``step`` (from 0) of ``total_steps``."""
    warmup = min(total_steps, max(config.warmup_steps, math.ceil(config.warmup_ratio * total_steps)))
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, total_steps - warmup)
    if config.schedule == "linear":
        return config.learning_rate * (1 - progress)
    if config.schedule == "cosine":
        wave = 0.5 * (1 + math.cos(math.pi * progress))
        return config.learning_rate * (COSINE_FLOOR + (1 - COSINE_FLOOR) * wave)
    if config.schedule == "inverse square root":
        return config.learning_rate * math.sqrt((warmup + 1) / (step + 1))
    return config.learning_rate


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW over the trainable weights; only matrices decay."""
    trainable = list_trainable(model)
    groups = [
        {"params": [weight for weight in trainable.values() if weight.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [weight for weight in trainable.values() if weight.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.learning_rate, fused=True)


def list_trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Trainable weights by name; tied ones once. Sharded ones as shards, which is what the optimizer knows."""
    for module in model.modules():
        if isinstance(module, FSDPModule):  # after a pass without gradients some are left whole
            module.reshard()
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def read_weights(model: nn.Module) -> dict[str, Tensor]:
    """The trainable weights, whole. Where they are sharded all processes have to ask."""
    return {name: _keep(weight) for name, weight in list_trainable(model).items()}


def read_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimizer's state as whole tensors named ``<kind>/<weight>``."""
    state = optimizer.state
    return {
        f"{kind}/{name}": _keep(value)
        for name, weight in list_trainable(model).items()
        for kind, value in state.get(weight, {}).items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Puts back what :func:`read_optimizer` gave."""
    weights = list_trainable(model)
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        weight = weights[name]
        value = value.to(weight.device)
        optimizer.state[weight][kind] = _spread_like(weight, value) if value.shape == weight.shape else value


@torch.no_grad()
def restore_weights(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Puts back the trainable weights; raises KeyError when the names differ."""
    weights = list_trainable(model)
    if weights.keys() != tensors.keys():
        raise KeyError(f"{len(weights.keys() ^ tensors.keys())} weights differ in name")
    for name, weight in weights.items():
        weight.copy_(_spread_like(weight, tensors[name].to(weight.device)))


def gather(tensor: Tensor) -> Tensor:
    """A sharded tensor whole, others as they are; all processes have to ask."""
    return tensor.full_tensor().detach() if isinstance(tensor, DTensor) else tensor.detach()


def _keep(tensor: Tensor) -> Tensor:
    """A sharded tensor whole and on the CPU, so that the device never holds more than one."""
    return gather(tensor).cpu() if isinstance(tensor, DTensor) else tensor.detach()


def _spread_like(weight: Tensor, value: Tensor) -> Tensor:
    """``value``, which every process has, sharded as ``weight`` is."""
    if not isinstance(weight, DTensor):
        return value
    return distribute_tensor(value, weight.device_mesh, weight.placements, src_data_rank=None)
