"""A run that was interrupted ends with exactly the weights of one that was not."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from models_registry.inference.program import EXIT_STOPPED, Program, State
from tests.models_registry.inference.jobs import (
    program_environment,
    read_cause,
    read_lines,
    read_result,
    read_status,
    run_program,
)
from tests.training.engine.runs import launch_command, make_run, make_separable_records, read_weights, stop_after
from training.engine.checkpoint import find_damage, list_checkpoints
from training.engine.config import METHODS
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
    """Bit for bit the same weights, curves and result."""
    weights, others = read_weights(run), read_weights(other)
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    for part in ("train", "eval", "steps", "tokens", "pairs"):
        assert read_result(run)[part] == read_result(other)[part]
    assert read_lines(run / "metrics.jsonl") == read_lines(other / "metrics.jsonl")


@pytest.mark.parametrize(("method", "lora_r"), [(method, 0) for method in METHODS] + [("dpo", 4), ("reward", 4)])
def test_stopped_and_resumed_run_ends_like_an_uninterrupted_one(start: Start, method: str, lora_r: int) -> None:
    """The stop comes between two points of the curve, whose averages go on."""
    settings = {"lora_r": lora_r, "epochs": 2, "logging_steps": 2, "eval_steps": 3}
    whole = start("whole", method, **settings)
    assert run_program(main, whole) == 0

    run = start("interrupted", method, **settings)
    assert run_program(stop_after(3), run) == EXIT_STOPPED
    assert (read_status(run)["state"], read_status(run)["message"]) == ("stopped", "Stopped: cancelled")
    assert [path.name for path in list_checkpoints(run / "checkpoints")] == ["step-00000003"]
    assert not (run / "result.json").exists() and not (run / "model").exists()
    (run / "stop").unlink()
    assert run_program(main, run) == 0
    assert_same_end(run, whole)
    assert [line["step"] for line in read_lines(run / "metrics.jsonl")] == [0, 2, 3, 4, 6, 6]
    assert "Taken up from step 3 of 6." in read_result(run)["notes"]


def test_signal_is_a_request_to_stop(start: Start) -> None:
    """Here in the last fifth of the steps, over which the final figures are averages."""
    whole, run = start("whole", epochs=4), start("run", epochs=4)
    assert run_program(main, whole) == 0

    def terminate(program: Program) -> None:
        log = program.log_metrics

        def log_and_terminate(values: dict[str, Any]) -> None:
            log(values)
            if values["step"] == 11:
                os.kill(os.getpid(), signal.SIGTERM)

        program.log_metrics = log_and_terminate  # type: ignore[method-assign]
        main(program)

    assert run_program(terminate, run) == EXIT_STOPPED
    assert read_status(run)["message"] == "Stopped: SIGTERM"
    assert [path.name for path in list_checkpoints(run / "checkpoints")] == ["step-00000011"]
    assert run_program(main, run) == 0
    assert_same_end(run, whole)


def test_interrupted_evaluation_is_made_up_for(start: Start) -> None:
    whole, run = start("whole", eval_steps=3), start("run", eval_steps=3)
    assert run_program(main, whole) == 0

    def stop_in_evaluation(program: Program) -> None:
        report = program.report

        def report_and_stop(state: State, **fields: Any) -> None:
            report(state, **fields)
            if fields.get("message") == "Evaluating 0/5" and program._status.get("step") == 3:
                (program.folder / "stop").write_text("cancelled", encoding="utf-8")

        program.report = report_and_stop  # type: ignore[method-assign]
        main(program)

    assert run_program(stop_in_evaluation, run) == EXIT_STOPPED
    assert read_lines(run / "metrics.jsonl")[-1]["step"] == 3 and "loss" in read_lines(run / "metrics.jsonl")[-1]
    (run / "stop").unlink()
    assert run_program(main, run) == 0
    assert_same_end(run, whole)


def test_next_attempt_takes_up_the_checkpoint_of_the_last_one(start: Start) -> None:
    whole, first = start("whole"), start("first")
    assert run_program(main, whole) == 0
    assert run_program(stop_after(4), first) == EXIT_STOPPED
    second = start("second", resume_from=[str(first)])
    assert run_program(main, second) == 0
    weights = read_weights(whole)
    assert all(torch.equal(weight, weights[name]) for name, weight in read_weights(second).items())
    assert read_result(second)["train"] == read_result(whole)["train"]
    assert read_lines(second / "metrics.jsonl") == read_lines(whole / "metrics.jsonl")[5:]
    assert any("step 4" in note for note in read_result(second)["notes"])


def test_damaged_checkpoint_of_the_last_attempt_falls_back_to_the_attempt_before(start: Start) -> None:
    whole, first = start("whole"), start("first")
    assert run_program(main, whole) == 0
    assert run_program(stop_after(3), first) == EXIT_STOPPED
    second = start("second", resume_from=[str(first)])
    assert run_program(stop_after(4), second) == EXIT_STOPPED
    (damaged,) = list_checkpoints(second / "checkpoints")
    os.truncate(damaged / "model.safetensors", 100)
    third = start("third", resume_from=[str(second), str(first)])
    assert run_program(main, third) == 0
    weights = read_weights(whole)
    assert all(torch.equal(weight, weights[name]) for name, weight in read_weights(third).items())
    notes = read_result(third)["notes"]
    assert "step-00000004 is damaged" in notes[0] and "step 3" in notes[-1]


def test_checkpoint_of_other_settings_is_refused_in_words(start: Start) -> None:
    first = start("first")
    assert run_program(stop_after(2), first) == EXIT_STOPPED
    for change in ({"max_length": 200}, {"seed": 1}, {"precision": "bf16"}, {"lora_r": 4}):
        (name,) = change
        other = start(f"other {name}", resume_from=[str(first)], **change)
        assert run_program(main, other) == 1
        code, text = read_cause(other)
        assert code == "bad_checkpoint" and f"({name})" in text
    records = start("records", resume_from=[str(first)], logging_steps=2, save_steps=3, keep_checkpoints=3)
    assert run_program(main, records) == 0


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
    assert "step-00000005 is damaged" in notes[0] and "step 4" in notes[-1]


def test_finished_run_started_again_gives_the_same_result(start: Start) -> None:
    run = start("run")
    assert run_program(main, run) == 0
    shutil.copytree(run, run.with_name("before"))
    assert run_program(main, run) == 0
    assert_same_end(run, run.with_name("before"))


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


DIES_WHILE_SAVING = """
import os, signal, sys
from pathlib import Path
from models_registry.inference.program import Program
from training.engine import checkpoint
from training.engine.config import METHODS
from training.engine.run import main

def write_and_die(path, tensors, *rest, write=checkpoint.write_tensors):
    write(path, tensors, *rest)
    if "step-00000004" in str(path) and path.stem == "optimizer":
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.write_tensors = write_and_die
Program(Path(sys.argv[1])).run(main)
"""


def test_killed_run_goes_on_from_its_last_whole_checkpoint(start: Start, spawn: Spawn) -> None:
    whole, run = start("whole", save_steps=2, eval_steps=3), start("killed", save_steps=2, eval_steps=3)
    assert run_program(main, whole) == 0
    assert spawn([sys.executable, "-c", DIES_WHILE_SAVING, str(run)]).wait(timeout=120) == -signal.SIGKILL
    checkpoints = run / "checkpoints"
    assert [path.name for path in list_checkpoints(checkpoints)] == ["step-00000002"]
    assert list(checkpoints.glob(".step-00000004*"))  # what it was writing
    assert read_lines(run / "metrics.jsonl")[-1]["step"] == 4
    assert run_program(main, run) == 0
    assert_same_end(run, whole)
    assert not list(checkpoints.glob(".step*"))


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


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("ending", "code"), [("raise SystemExit(3)", 3), ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL)]
)
def test_launcher_ends_as_its_program_does(
    ending: str, code: int, processes: int, spawn: Spawn, tmp_path: Path
) -> None:
    """A stopped run must not look crashed, and the supervisor reads the signal that ended a killed one."""
    (tmp_path / "program.py").write_text(f"import os, signal\n{ending}\n", encoding="utf-8")
    several = ["--multi_gpu", f"--num_processes={processes}", "--main_process_port=0"] if processes > 1 else ["--cpu"]
    options = ["--mixed_precision=no", "--num_machines=1", "--dynamo_backend=no", *several]
    with (tmp_path / "log.txt").open("wb") as output:
        command = [sys.executable, "-m", "training.engine.launch", *options, str(tmp_path / "program.py")]
        assert spawn(command, stdout=output, stderr=subprocess.STDOUT).wait(timeout=120) == code
    assert "Traceback" not in (tmp_path / "log.txt").read_text(encoding="utf-8")


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
