"""The chaos harness sees what must not be: without this its table of zeros would say nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.chaos.tables import list_wrongs, show_faults
from benchmarks.chaos.traces import Event, Recovery, count_fenced_steps, measure_recovery, read_trace

SHIM = Path(__file__).parents[2] / "benchmarks" / "chaos" / "shim"


def attempt(epoch: int, launched_at: float, *steps: tuple[float, int]) -> list[Event]:
    launch = Event(launched_at, epoch, "launch", 0, epoch * 10)
    return [launch, *(Event(at, epoch, "step", step, epoch * 10 + 1) for at, step in steps)]


def test_step_of_a_fenced_off_attempt_is_counted() -> None:
    first = attempt(1, 0.0, (1.0, 1), (2.0, 2), (5.5, 3))
    second = attempt(2, 5.0, (6.0, 2), (7.0, 3))
    assert count_fenced_steps(sorted(first + second)) == 1
    assert count_fenced_steps(sorted(first[:-1] + second)) == 0


def test_recovery_is_taken_from_the_next_attempt() -> None:
    trace = sorted(attempt(1, 0.0, (1.0, 1), (2.0, 2), (3.0, 3), (3.1, 4)) + attempt(2, 8.0, (9.0, 3), (10.0, 4)))
    assert measure_recovery(trace, 3.05, 1) == Recovery(taken_up_s=4.95, stepping_s=5.95, redone=2)


def test_attempt_that_goes_on_needs_no_other() -> None:
    trace = attempt(1, 0.0, (1.0, 1), (2.0, 2), (4.5, 3))
    assert measure_recovery(trace, 2.5, 1) == Recovery(taken_up_s=None, stepping_s=2.0, redone=0)


def test_trainers_write_down_their_launch(tmp_path: Path) -> None:
    """The line of a write that was cut short is left out."""
    folder = tmp_path / "runs" / "7" / "attempt-2"
    words = ["-m", "training.engine.run", str(folder)]
    env = os.environ | {"CHAOS_TRACE": str(tmp_path), "PYTHONPATH": str(SHIM)}
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())", *words], env=env, stdout=-1)
    with (tmp_path / "7-2.jsonl").open("a") as file:
        file.write('{"what": "st')
    (event,) = read_trace(tmp_path, 7)
    assert (event.what, event.epoch, event.pid) == ("launch", 2, int(process.stdout))


def test_what_must_not_be_is_named() -> None:
    good: dict[str, Any] = {"name": "a", "state": "finished", "cause": "", "fenced_steps": 0}
    good |= {"ended_once": True, "bit_equal": True, "same_curves": True}
    slow = {"run": 1, "fault": "worker killed", "taken_up_s": 41.0, "stepping_s": 45.0, "redone": 2, "seen": {}}
    marks = [slow | {"stepping_s": 39.0}, slow | {"fault": "of some other kind"}]
    trial = {"set_up": "sqlite", "problems": [], "crowded": [], "runs": {1: good}, "marks": marks}
    assert list_wrongs([trial]) == []
    assert len(list_wrongs([trial | {"marks": [slow, slow | {"stepping_s": 9.0, "redone": 5}]}])) == 2
    assert "| 0 of 1 |" in show_faults([trial | {"marks": [slow]}])
    bad = good | {"name": "b", "bit_equal": False, "fenced_steps": 2}
    wrongs = list_wrongs([trial | {"runs": {1: good, 2: bad}, "crowded": ["device 0 has trainers [1, 2]"]}])
    assert wrongs == ["sqlite: device 0 has trainers [1, 2]", "sqlite: b (finished, ): bit_equal, fenced_steps"]
