"""Small real programs under the contract of inference/program.py, for the supervisor's tests.

    python -m tests.models_registry.programs FOLDER

config.json: ``{"mode": <a function below>, ...}``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from models_registry.inference.program import Program, ProgramError, read_json


def finish(program: Program, config: dict[str, Any]) -> None:
    for step in range(1, config.get("steps", 3) + 1):
        program.log_metrics({"step": step, "loss": 1 / step})
        program.report("running", message=f"Step {step}", step=step, total_steps=config.get("steps", 3), eta_s=7.4)
        print(f"step {step}", flush=True)
        time.sleep(config.get("pause", 0.0))
    program.write_result({"steps": config.get("steps", 3)})


def fail(program: Program, config: dict[str, Any]) -> None:
    raise ProgramError("bad_data", "Line 3 holds no pair.")


def vanish(program: Program, config: dict[str, Any]) -> None:
    program.report("running", message="About to vanish", step=1)
    os.kill(os.getpid(), signal.SIGKILL)


def wait(program: Program, config: dict[str, Any]) -> None:
    program.log_metrics({"step": 1})
    while not program.stop_reason:
        time.sleep(0.02)
    program.log_metrics({"step": 2, "stop": program.stop_reason})


def defy(program: Program, config: dict[str, Any]) -> None:
    """Neither the stop file nor SIGTERM moves it; has a child."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    program.log_metrics({"step": 1, "pids": [os.getpid(), child.pid]})
    time.sleep(60)


def shout(program: Program, config: dict[str, Any]) -> None:
    for _block in range(config["blocks"]):
        sys.stdout.write("noise\n" * 100_000)
    sys.stdout.flush()
    program.log_metrics({"step": 1})
    until = time.monotonic() + 15
    while not (program.folder / "trimmed").exists() and time.monotonic() < until:
        time.sleep(0.02)
    print("the end", flush=True)
    program.write_result({})


def tell_environment(program: Program, config: dict[str, Any]) -> None:
    program.write_result({"environment": dict(os.environ), "path": sys.path, "folder": os.getcwd()})


def count(program: Program, config: dict[str, Any]) -> None:
    """Training in miniature: steps with checkpoints, taken up where the newest attempt left off; leaves a trace."""
    trace = Path(config["trace"])
    attempts = sorted(program.folder.parent.glob("attempt-*/checkpoints/step-*"), key=lambda path: path.name)
    step = int(attempts[-1].name.removeprefix("step-")) if attempts else 0
    while step < config["steps"] and not program.stop_reason:
        step += 1
        time.sleep(config["pause"])
        with trace.open("a", encoding="utf-8") as file:
            line = {"step": step, "attempt": program.folder.name, "pid": os.getpid(), "at": time.time()}
            file.write(json.dumps(line) + "\n")
        program.report("running", message="Counting", step=step, total_steps=config["steps"])
        if step % 5 == 0:
            _save(program, step)
    if program.stop_reason:
        _save(program, step)
        return
    program.write_result({"steps": step})


def _save(program: Program, step: int) -> None:
    (program.folder / "checkpoints" / f"step-{step:08d}").mkdir(parents=True, exist_ok=True)


MODES = {function.__name__: function for function in (finish, fail, vanish, wait, defy, shout, tell_environment, count)}


def main(program: Program) -> None:
    config = read_json(program.folder / "config.json")
    MODES[config["mode"]](program, config)


if __name__ == "__main__":
    sys.exit(Program(Path(sys.argv[1])).run(main))
