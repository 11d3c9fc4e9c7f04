"""Two processes train as one does with twice the batch, the model copied (DDP) or sharded (FSDP2)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import training
from tests.models_registry.inference.jobs import program_environment, read_lines, read_result, run_program
from tests.tiny_models import make_tiny_policy
from tests.training.engine.runs import make_run, make_separable_records, read_weights
from training.engine.run import main

pytestmark = pytest.mark.xdist_group("processes")  # one process of the tests makes the folders for all

TRAIN, EVAL = make_separable_records(21), make_separable_records(5, seed=1)
CONFIG = Path(training.__file__).parent / "accelerate-fsdp.yaml"
SETTINGS: dict[str, dict[str, Any]] = {
    "reward": {"evaluation": EVAL[:1]},  # one process has no held-out row at all
    "dpo": {},
    "kto": {"undesirable_weight": 0.0},  # so that the KL estimate is not cut off at 0
    "orpo": {},  # counts pairs and tokens
}
"""21 rows and 5 leave the second process without a row in the last batch."""
SHARDED: dict[str, dict[str, Any]] = {"dpo": {"lora_r": 4}, "reward": {}, "orpo": {"model": "tied"}}


@pytest.fixture(scope="module")
def folders(tiny_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One launch of two processes for all that is looked at."""
    root = tmp_path_factory.mktemp("processes")
    tied = tie_embeddings(root / "tied")

    def make(name: str, method: str, **values: Any) -> Path:
        if values.pop("model", None):
            values["model"] = tied
        settings = {"model": tiny_policy, "train": TRAIN, "evaluation": EVAL, "epochs": 2, "eval_steps": 2, **values}
        return make_run(root / name, method, **settings)

    places = []
    for method, values in SETTINGS.items():
        assert run_program(main, make(f"{method}-alone", method, batch_size=4, **values)) == 0
        places.append(f"ddp={make(f'{method}-copied', method, batch_size=2, **values)}")
    for method, values in SHARDED.items():
        assert run_program(main, make(f"{method}-whole", method, batch_size=4, save_steps=2, **values)) == 0
        places.append(f"fsdp={make(f'{method}-sharded', method, batch_size=2, save_steps=2, **values)}")
    for kind in ("ddp", "fsdp"):
        run = make(f"{kind}-interrupted", "dpo", batch_size=2, logging_steps=2, eval_steps=3)
        places += [f"{kind}={run}:3", f"{kind}={run}"]
        places.append(f"{kind}={make(f'{kind}-through', 'dpo', batch_size=2, logging_steps=2, eval_steps=3)}")
    launch(places)
    return root


def tie_embeddings(folder: Path) -> Path:
    make_tiny_policy(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, tie_word_embeddings=True)
    model.save_pretrained(folder)
    return folder


def launch(places: list[str]) -> None:
    """By the product's own launcher, on the CPU whatever the machine has."""
    launcher = [sys.executable, "-m", "training.engine.launch", "--config_file", str(CONFIG)]
    command = [*launcher, "-m", "tests.training.engine.several_processes", *places]
    environment = program_environment() | {"CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(command, env=environment)
    try:
        assert process.wait(timeout=200) == 0
    finally:
        process.terminate()  # and with it the two that it started
        process.wait()


def assert_same_curves(run: Path, other: Path, tolerance: float) -> None:
    curves = read_lines(run / "metrics.jsonl"), read_lines(other / "metrics.jsonl")
    for one, two in zip(*curves, strict=True):
        assert two == pytest.approx(one, rel=tolerance, abs=tolerance)
    tails = [read_result(folder)["train"]["metrics"] for folder in (run, other)]
    assert tails[0] == pytest.approx(tails[1], rel=tolerance, abs=tolerance)


def assert_alike(run: Path, other: Path) -> None:
    """The same curves, evaluation and weights up to rounding."""
    assert (read_result(run)["processes"], read_result(other)["processes"]) == (2, 1)
    assert_same_curves(run, other, 2e-3)
    torch.testing.assert_close(read_weights(run), read_weights(other), atol=2e-3, rtol=1e-2)


def was_sharded(folder: Path) -> bool:
    return "The model is sharded over 2 processes." in read_result(folder)["notes"]


@pytest.mark.parametrize("method", SETTINGS)
def test_two_processes_train_like_one(method: str, folders: Path) -> None:
    assert_alike(folders / f"{method}-copied", folders / f"{method}-alone")
    if method == "kto":
        lines = read_lines(folders / "kto-copied" / "metrics.jsonl")
        assert max(line["kl"] for line in lines if "kl" in line) > 0.5


@pytest.mark.parametrize("method", SHARDED)
def test_sharded_model_trains_like_a_whole_one(method: str, folders: Path) -> None:
    """Its checkpoints and its model folder hold whole weights, LoRA merged and tied embeddings once."""
    sharded, whole = folders / f"{method}-sharded", folders / f"{method}-whole"
    assert_alike(sharded, whole)
    assert was_sharded(sharded) and not was_sharded(whole)


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_interrupted_processes_end_like_uninterrupted_ones(kind: str, folders: Path) -> None:
    run, through = folders / f"{kind}-interrupted", folders / f"{kind}-through"
    assert any("Taken up from step 3" in note for note in read_result(run)["notes"])
    assert_same_curves(run, through, 1e-6)
    assert was_sharded(run) == was_sharded(through) == (kind == "fsdp")
    weights = read_weights(through)
    assert all(torch.equal(weight, weights[name]) for name, weight in read_weights(run).items())
