"""Losses, gradients and short trainings equal TRL's on the same tokens and weights (benchmarks/parity.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.layouts import ARCHITECTURES, compare_layouts, relate, relate_gradients
from benchmarks.parity import (
    CASES,
    TOLERANCE,
    TRAJECTORIES,
    Case,
    compare_trajectories,
    compute_ours,
    compute_theirs,
    make_policies,
)

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.xdist_group("parity")]


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_policies(tmp_path_factory.mktemp("parity"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_loss_and_gradient_of_a_batch(case: Case, policies: tuple[Path, Path]) -> None:
    ours, theirs = compute_ours(case, policies), compute_theirs(case, policies)
    assert relate(ours[0], theirs[0]) < TOLERANCE
    assert relate_gradients(ours[1], theirs[1]) < TOLERANCE


@pytest.mark.parametrize("method", TRAJECTORIES)
def test_losses_of_fifty_steps(method: str, policies: tuple[Path, Path]) -> None:
    ours, theirs = compare_trajectories(method, policies[0])
    assert len(ours) == len(theirs) == 50
    assert max(map(relate, ours, theirs)) < TOLERANCE
    assert ours[-1] < 0.5 * ours[0]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_shared_prompts_change_nothing(architecture: str) -> None:
    for logps, gradient in compare_layouts(architecture).values():
        assert logps < TOLERANCE and gradient < TOLERANCE
