from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.tiny_models import make_tiny_policy


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_policy(tmp_path_factory.mktemp("models") / "policy", seed=0)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Several test processes share few cores, and sums must not depend on how many there are."""
    torch.set_num_threads(1)
