"""The methods by name; each stands in a file of its own."""

from __future__ import annotations

from collections.abc import Callable

from training.engine.config import TrainingConfig
from training.engine.methods.arpo import ARPOMethod
from training.engine.methods.base import Method
from training.engine.methods.cpo import CPOMethod
from training.engine.methods.dpo import DPOMethod
from training.engine.methods.ipo import IPOMethod
from training.engine.methods.kto import KTOMethod
from training.engine.methods.orpo import ORPOMethod
from training.engine.methods.reward import RewardMethod
from training.engine.methods.sft import SFTMethod
from training.engine.methods.simpo import SimPOMethod

MAKERS: dict[str, Callable[[TrainingConfig], Method]] = {
    "sft": SFTMethod,
    "reward": RewardMethod,
    "dpo": DPOMethod,
    "ipo": IPOMethod,
    "kto": KTOMethod,
    "orpo": ORPOMethod,
    "cpo": CPOMethod,
    "simpo": SimPOMethod,
    "arpo": ARPOMethod,
}


def make_method(config: TrainingConfig) -> Method:
    """The method that ``config`` names, with its settings."""
    return MAKERS[config.method](config)
