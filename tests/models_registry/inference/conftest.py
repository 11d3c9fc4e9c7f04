"""Tiny models that the inference tests share; made once a test process, never changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_models import make_tiny_policy


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_policy(tmp_path_factory.mktemp("models") / "policy", seed=1)


@pytest.fixture(scope="session")
def other_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_policy(tmp_path_factory.mktemp("models") / "other", seed=2)


@pytest.fixture(scope="session")
def reward_model(tmp_path_factory: pytest.TempPathFactory, policy: Path) -> Path:
    """The policy's body with a score head, as a training run would save it."""
    import torch

    from models_registry.inference.load import load_reward_model, load_tokenizer

    folder = tmp_path_factory.mktemp("models") / "reward"
    load_reward_model(policy, torch.float32).save_pretrained(folder)
    load_tokenizer(policy).save_pretrained(folder)
    return folder
