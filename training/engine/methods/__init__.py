"""The methods by name; each stands in a file of its own."""

from __future__ import annotations

from collections.abc import Callable

from training.engine.config import TrainingConfig
from training.engine.methods.base import Method
from training.engine.methods.dpo import DPOMethod
from training.engine.methods.orpo import ORPOMethod
from training.engine.methods.reward import RewardMethod


def make_method(config: TrainingConfig) -> Method:
    """The method that ``config`` names, with its settings."""
    makers: dict[str, Callable[[TrainingConfig], Method]] = {
        "reward": RewardMethod,
        "dpo": DPOMethod,
        "orpo": ORPOMethod,
    }
    return makers[config.method](config)
