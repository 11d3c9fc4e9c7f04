"""A run that was interrupted ends with exactly the weights of one that was not."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models_registry.inference.program import EXIT_STOPPED
from tests.models_registry.inference.jobs import program_environment, read_lines, read_result, read_status, run_program
from tests.training.engine.runs import launch_command, make_run, make_separable_records, read_weights, stop_after
from training.engine.checkpoint import find_damage, list_checkpoints
from training.engine.reference import FILE_NAME
from training.engine.run import main

TRAIN, EVAL = make_separable_records(21), make_separable_records(5, seed=1)
Start = Callable[..., Path]
Spawn = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tiny_policy: Path, tmp_path: Path) -> Start:
    """Makes a run folder of 9 steps in 3 epochs."""

    def make(name: str, method: str = "dpo", **values: object) -> Path:
        settings: dict[str, Any] = {"epochs": 3, **values}
        return make_run(tmp_path / name, method, tiny_policy, TRAIN, EVAL, **settings)

    return make


def assert_same_end(run: Path, other: Path) -> None:
    """Bit for bit the same weights, and the same evaluation."""
    weights, others = read_weights(run), read_weights(other)
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    for part in ("train", "eval", "steps", "tokens", "pairs"):
        assert read_result(run)[part] == read_result(other)[part]


@pytest.mark.parametrize(("method", "lora_r"), [("dpo", 0), ("dpo", 4), ("reward", 0), ("reward", 4), ("orpo", 0)])
def test_stopped_and_resumed_run_ends_like_an_uninterrupted_one(start: Start, method: str, lora_r: int) -> None:
    whole = start("whole", method, lora_r=lora_r)
    assert run_program(main, whole) == 0

    run = start("interrupted", method, lora_r=lora_r)
    assert run_program(stop_after(4), run) == EXIT_STOPPED
    assert (read_status(run)["state"], read_status(run)["message"]) == ("stopped", "Stopped: cancelled")
    assert not (run / "result.json").exists() and not (run / "model").exists()
    (run / "stop").unlink()
    assert run_program(main, run) == 0
    assert_same_end(run, whole)
    assert [line["step"] for line in read_lines(run / "metrics.jsonl")] == [0, *range(1, 10), 9]


def test_next_attempt_takes_up_the_checkpoint_of_the_last_one(start: Start) -> None:
    whole, first = start("whole"), start("first")
    assert run_program(main, whole) == 0
    assert run_program(stop_after(4), first) == EXIT_STOPPED
    second = start("second", resume_from=str(first))
    assert run_program(main, second) == 0
    assert_same_end(second, whole)
    assert read_lines(second / "metrics.jsonl")[0]["step"] == 5
    assert any("step 4" in note for note in read_result(second)["notes"])


def test_each_attempt_hands_the_reference_on_to_the_next(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    attempts = [start("attempt-1")]
    assert run_program(stop_after(2), attempts[0]) == EXIT_STOPPED
    for number in (2, 3):
        before = attempts[-1]
        attempts.append(start(f"attempt-{number}", resume_from=str(before)))
        capfd.readouterr()
        assert run_program(stop_after(2 * number), attempts[-1]) == EXIT_STOPPED
        assert f"taken from {before / FILE_NAME}" in capfd.readouterr().out
    stored = [load_file(attempt / FILE_NAME) for attempt in attempts]
    assert len(stored[0]) == 4 and stored[0].keys() == stored[2].keys()
    assert all(torch.equal(column, stored[2][name]) for name, column in stored[0].items())


def test_damaged_checkpoint_falls_back_to_the_one_before(start: Start) -> None:
    whole, run = start("whole"), start("damaged", save_steps=2)
    assert run_program(main, whole) == 0
    assert run_program(stop_after(5), run) == EXIT_STOPPED
    newest, before = list_checkpoints(run / "checkpoints")
    assert (newest.name, before.name) == ("step-00000005", "step-00000004")
    with (newest / "optimizer.safetensors").open("r+b") as file:
        file.seek(-3, os.SEEK_END)
        file.write(b"\xff")
    (run / "stop").unlink()
    assert run_program(main, run) == 0
    assert_same_end(run, whole)
    notes = read_result(run)["notes"]
    assert "step-00000005 is damaged" in notes[0] and "step 4" in notes[1]


def test_finished_run_started_again_gives_the_same_result(start: Start) -> None:
    run = start("run")
    assert run_program(main, run) == 0
    before = read_weights(run), read_result(run)["eval"]
    assert run_program(main, run) == 0
    assert (read_result(run)["eval"], read_result(run)["steps"]) == (before[1], 9)
    assert all(torch.equal(weight, before[0][name]) for name, weight in read_weights(run).items())


def test_stop_before_the_first_step_leaves_nothing_behind(start: Start) -> None:
    run = start("run")
    (run / "stop").write_text("cancelled", encoding="utf-8")
    assert run_program(main, run) == EXIT_STOPPED
    assert not (run / "checkpoints").exists() and not (run / "model").exists()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "the program ended before it was interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts programs in process groups of their own, and leaves none behind."""
    started: list[subprocess.Popen[bytes]] = []

    def start_process(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        environment = program_environment() | options.pop("env", {})
        started.append(subprocess.Popen(command, env=environment, start_new_session=True, **options))
        return started[-1]

    yield start_process
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_command(run: Path) -> list[str]:
    return [sys.executable, "-m", "training.engine.run", str(run)]


def test_killed_run_goes_on_from_its_last_checkpoint(start: Start, spawn: Spawn) -> None:
    whole, run = start("whole"), start("killed", save_steps=1)
    assert run_program(main, whole) == 0
    process = spawn(run_command(run))
    wait_for(lambda: len(list_checkpoints(run / "checkpoints")) > 0, process)
    process.kill()
    process.wait()
    assert not (run / "result.json").exists()
    assert run_program(main, run) == 0
    assert_same_end(run, whole)
    trained = [line["step"] for line in read_lines(run / "metrics.jsonl") if "loss" in line]
    assert trained == sorted(set(trained))  # no step is told twice


def test_signal_to_the_whole_group_saves_before_leaving(start: Start, spawn: Spawn) -> None:
    """The launcher dies of the signal at once; the trainer still saves what it has."""
    run = start("run", epochs=100)
    process = spawn(launch_command(run))
    wait_for(lambda: (run / "metrics.jsonl").exists() and len(read_complete_lines(run)) > 3, process)
    os.killpg(process.pid, signal.SIGTERM)
    process.wait()
    deadline = time.monotonic() + 60
    while read_status(run)["state"] == "running" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (read_status(run)["state"], read_status(run)["message"]) == ("stopped", "Stopped: SIGTERM")
    newest = list_checkpoints(run / "checkpoints")[0]
    assert find_damage(newest) is None and newest.name > "step-00000002"


def test_launcher_that_dies_alone_takes_a_supervised_trainer_along(start: Start, spawn: Spawn) -> None:
    run = start("run", epochs=100)
    (run / "heartbeat").write_text("1", encoding="utf-8")
    process = spawn(launch_command(run), env={"PLUMBLINE_SUPERVISED": "1"})
    wait_for(lambda: (run / "metrics.jsonl").exists() and len(read_complete_lines(run)) > 3, process)
    trainer = read_status(run)["pid"]
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while os.path.exists(f"/proc/{trainer}") and not is_zombie(trainer) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{trainer}") or is_zombie(trainer)
    assert read_status(run)["state"] == "stopped"


def test_launched_run_that_is_stopped_does_not_look_crashed(start: Start, spawn: Spawn, tmp_path: Path) -> None:
    run, log = start("run"), tmp_path / "log.txt"
    (run / "stop").write_text("Cancelled", encoding="utf-8")
    with log.open("wb") as output:
        process = spawn(launch_command(run), stdout=output, stderr=subprocess.STDOUT)
    assert process.wait(timeout=120) == EXIT_STOPPED
    assert read_status(run)["message"] == "Stopped: Cancelled"
    assert "Traceback" not in log.read_text(encoding="utf-8")


def test_launcher_ends_by_the_signal_that_ended_the_trainer(start: Start, spawn: Spawn) -> None:
    run = start("run", epochs=100)
    process = spawn(launch_command(run))
    wait_for(lambda: (run / "metrics.jsonl").exists(), process)
    os.kill(read_status(run)["pid"], signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL


def is_zombie(pid: int) -> bool:
    """Ended, and not yet buried by whoever inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def read_complete_lines(run: Path) -> list[str]:
    return (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()


def test_full_disk_keeps_the_checkpoint_before_and_says_so(start: Start, spawn: Spawn) -> None:
    """No file may grow beyond 1.5 MB: the weights (1 MB) fit, the optimizer's state (2 MB) does not."""
    whole, run = start("whole"), start("full")
    assert run_program(main, whole) == 0
    assert run_program(stop_after(2), run) == EXIT_STOPPED
    (run / "stop").unlink()

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))

    process = spawn(run_command(run), preexec_fn=limit_files)
    assert process.wait(timeout=120) == 1
    status = read_status(run)
    assert (status["state"], status["cause"]["code"]) == ("failed", "disk_full")
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000002"]
    assert run_program(main, run) == 0
    assert_same_end(run, whole)


def test_two_processes_train_like_one(start: Start, spawn: Spawn) -> None:
    """Four pairs in one process or two in each of two: the same losses, evaluation and weights up to rounding.

    ORPO counts pairs and tokens; 21 and 5 rows leave the second process without a row in the last batch.
    """
    alone, shared = start("alone", "orpo", batch_size=4), start("shared", "orpo", batch_size=2)
    assert run_program(main, alone) == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1"]
    process = spawn([*launcher, f"--master_port={free_port()}", *run_command(shared)[1:]])
    assert process.wait(timeout=200) == 0
    for one, two in zip(read_lines(alone / "metrics.jsonl"), read_lines(shared / "metrics.jsonl"), strict=True):
        assert one.keys() == two.keys()
        assert two == pytest.approx(one, rel=2e-3, abs=2e-3)
    assert read_result(shared)["processes"] == 2
    torch.testing.assert_close(read_weights(shared), read_weights(alone), atol=2e-3, rtol=1e-2)


def free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("method", ["reward", "dpo", "orpo"])
def test_launched_run_learns_what_tells_the_sides_apart(start: Start, spawn: Spawn, method: str) -> None:
    run = start("run", method)
    process = spawn(launch_command(run))
    assert process.wait(timeout=120) == 0
    result = read_result(run)
    assert result["train"]["metrics"]["rewards/accuracies"] > 0.8
    assert result["eval"]["accuracy"] > 0.8
    assert read_status(run)["state"] == "finished"
