"""Job folders for the tests of the inference programs."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from models_registry.inference.program import Program


def make_job(folder: Path, config: Any, **files: Iterable[dict[str, Any]]) -> Path:
    """A job folder with its config.json and one JSONL file for each keyword."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for name, rows in files.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


def run_program(main: Callable[[Program], None], folder: Path) -> int:
    """Runs a program in this process, and gives the test runner its signal handlers back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return Program(folder).run(main)
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def read_status(folder: Path) -> dict[str, Any]:
    status: dict[str, Any] = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    return status


def read_cause(folder: Path) -> tuple[str, str]:
    """Code and words of the failure in status.json."""
    cause = read_status(folder)["cause"]
    return cause["code"], cause["text"]


def read_result(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def program_environment() -> dict[str, str]:
    """For programs run as processes of their own: one thread, no supervisor."""
    return {key: value for key, value in os.environ.items() if key != "PLUMBLINE_SUPERVISED"} | {"OMP_NUM_THREADS": "1"}
