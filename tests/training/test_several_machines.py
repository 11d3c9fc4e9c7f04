"""A run that several machines train together: real workers, each with devices of its own, and the real engine."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from models_registry import machines, tasks
from models_registry.machines import GB, Gpu, Machine
from models_registry.models import ModelVersion
from tests.real_workers import StartWorker, run_workers, wait_until
from tests.tiny_models import make_tiny_policy
from training.accelerate_config import describe_launch
from training.models import Layout, Run, RunShare
from training.placing import Placement

Launch = Callable[..., Run]
VALUES: dict[str, float] = {
    "batch_size": 2,
    "gradient_accumulation": 1,
    "epochs": 20,
    "max_length": 128,
    "max_prompt_length": 64,
    "logging_steps": 1,
    "save_steps": 5,
    "eval_steps": 0,
    "learning_rate": 1e-3,
}


@pytest.fixture
def start_worker(launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartWorker]:
    import_module("training.tasks")
    with run_workers(tmp_path, monkeypatch, app="config") as start_worker:
        yield start_worker


def read(run: Run) -> Run:
    return Run.objects.select_related("model").get(pk=run.pk)


def wait_for_end(run: Run) -> Run:
    wait_until(lambda: read(run).is_over, 120)
    ended = read(run)
    assert ended.state == "finished", ended.cause + ended.log_tail
    return ended


@pytest.mark.django_db(transaction=True)
def test_two_machines_train_like_two_devices_and_like_twice_the_batch(
    launch: Launch, base_model: ModelVersion, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the machines is lost midway; still the weights are those of two devices of one machine, to the bit.

    Without GPUs all talk by gloo.
    """
    make_tiny_policy(base_model.folder)
    apart = launch(name="apart", values=VALUES, placement=Placement(hosts=2))
    workers = {f"worker{number}": start_worker(CUDA_VISIBLE_DEVICES=str(-number)) for number in (0, 1)}
    wait_until(lambda: read(apart).step > 6, 90)
    victim = apart.shares.get().owner.partition("@")[0]
    os.kill(workers[victim].pid, signal.SIGKILL)
    start_worker(CUDA_VISIBLE_DEVICES=str(-int(victim[-1])))
    assert wait_for_end(apart).epoch == 2
    assert any(note.startswith("Taken up from step") for note in read(apart).result["notes"])
    share = apart.shares.get(run_epoch=2)
    wait_until(lambda: RunShare.objects.get(pk=share.pk).is_over, 30)  # it clears up after the run's own worker
    assert RunShare.objects.get(pk=share.pk).state == "finished"

    alone = launch(name="alone", values=VALUES | {"batch_size": 4})  # one of the workers takes it
    monkeypatch.setattr(machines, "describe_machine", lambda: Machine(gpus=(Gpu("card", GB),) * 2))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    together = launch(name="together", values=VALUES, placement=Placement(gpus=2))  # they cannot take that one
    wait_until(lambda: read(alone).state != "queued", 30)
    assert tasks.run_next("gpu")
    runs = [wait_for_end(run) for run in (apart, together, alone)]
    assert [run.result["processes"] for run in runs] == [2, 2, 1]
    written = yaml.safe_load((together.attempt_folder.with_name("attempt-1") / "accelerate.yaml").read_text())
    assert written == describe_launch(Layout(2))
    assert (written["num_processes"], written["distributed_type"]) == (2, "MULTI_GPU")
    weights = [load_file(run.model.folder / "model.safetensors") for run in runs if run.model]
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name]), name
        torch.testing.assert_close(weight, weights[2][name], atol=2e-3, rtol=1e-2)
