"""Counts that are told before a run are those of the run: steps against the engine's plan, activations against what
PyTorch really keeps."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models_registry.inference.program import Program
from tests.tiny_models import make_tiny_policy
from tests.training.engine.runs import make_run, make_separable_records, repeatable
from training.engine.batches import plan_epoch
from training.engine.passes import make_batch
from training.engine.run import prepare, start
from training.engine.sizes import count_pass_positions, count_steps, measure_activations


@repeatable
@given(rows=st.integers(1, 400), micro=st.integers(1, 64), accumulation=st.integers(1, 9), seed=st.integers(0, 9))
def test_an_epoch_has_as_many_steps_as_its_plan(rows: int, micro: int, accumulation: int, seed: int) -> None:
    lengths = [random.Random(seed).randrange(1, 90) for _row in range(rows)]
    plan = plan_epoch(lengths, micro_size=micro, accumulation=accumulation, seed=seed, epoch=0)
    per_epoch, total = count_steps(rows, micro_size=micro, accumulation=accumulation, epochs=2.5)
    assert per_epoch == len(plan)
    assert 2.5 * len(plan) <= total < 2.5 * len(plan) + 1
    assert count_steps(rows, micro_size=micro, accumulation=accumulation, epochs=2.5, max_steps=2)[1] == min(2, total)


@pytest.mark.parametrize(("epochs", "steps"), [(0.5, 2), (1.5, 6), (0.01, 1)])
def test_a_run_makes_the_steps_that_were_told(tmp_path: Path, epochs: float, steps: int) -> None:
    model = make_tiny_policy(tmp_path / "model")
    values: dict[str, Any] = {"batch_size": 2, "gradient_accumulation": 3, "epochs": epochs}
    folder = make_run(tmp_path / "run", "sft", model, make_separable_records(23), **values)
    assert count_steps(23, micro_size=2, accumulation=3, epochs=epochs) == (4, steps)
    assert start([str(folder)]) == 0
    assert json.loads((folder / "result.json").read_text())["steps"] == steps


@repeatable
@given(longest=st.integers(1, 500), rows=st.integers(1, 60), limit=st.integers(1, 3000))
def test_a_pass_holds_no_more_than_its_limit_or_one_row(longest: int, rows: int, limit: int) -> None:
    positions = count_pass_positions(longest, rows, limit)
    assert positions <= max(limit, longest) and positions <= rows * longest
    assert positions <= count_pass_positions(longest, rows + 1, limit)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_activations_are_what_the_gradient_keeps(tmp_path: Path, precision: str) -> None:
    """Of two batches, so that what does not grow with them drops out; the formula is a ceiling, and not far off."""
    model = make_tiny_policy(tmp_path / "model")
    folder = make_run(tmp_path / "run", "reward", model, make_separable_records(12), precision=precision)
    run = prepare(Program(folder))
    run.trainer.wrapped.train()

    def measure(rows: int) -> tuple[int, int]:
        arrangement = dataclasses.replace(run.trainer.job.arrangement)
        batch = make_batch(run.context, run.trainer.rows, list(range(rows)), arrangement)
        weights = {weight.untyped_storage().data_ptr() for weight in run.trainer.model.parameters()}
        kept: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            scores = run.trainer.model(batch)
        assert scores.requires_grad
        return sum(kept.values()), batch.input_ids.numel()

    (few, short), (many, long) = measure(3), measure(12)
    told = measure_activations(long - short, layers=2, width=96, inner=192, bf16=precision == "bf16")
    assert 0.7 < (many - few) / told <= 1.1
