"""What trainers wrote down of themselves (shim/sitecustomize.py), and what can be read from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, order=True)
class Event:
    """``launch`` (a trainer is there) or ``step`` (it begins one)."""

    at: float
    epoch: int
    what: str
    step: int
    pid: int


@dataclass(frozen=True)
class Recovery:
    """What followed a fault, in seconds after it; None where it did not happen any more."""

    taken_up_s: float | None
    """Until the next attempt was launched."""
    stepping_s: float | None
    """Until the next step began."""
    redone: int
    """Steps that were begun before and had to be done again."""


def read_trace(folder: Path, run: int) -> list[Event]:
    """In the order of time; a line that is being written is left for the next look."""
    found = []
    for path in folder.glob(f"{run}-*.jsonl"):
        epoch = int(path.stem.partition("-")[2])
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            values = json.loads(line)
            found.append(Event(values["at"], epoch, values["what"], values["step"], values["pid"]))
    return sorted(found)


def measure_recovery(trace: list[Event], at: float, epoch: int) -> Recovery:
    """After a fault at ``at``, when ``epoch`` was at work."""
    after = [event for event in trace if event.at > at]
    launch = next((event for event in after if event.what == "launch" and event.epoch > epoch), None)
    # An attempt that was ended may have begun a step between the fault and its end.
    goes_on = [event for event in after if event.what == "step" and (launch is None or event.epoch >= launch.epoch)]
    before = [event.step for event in trace if event.what == "step" and event.epoch <= epoch]
    redone = max(0, max(before, default=0) - goes_on[0].step + 1) if launch and goes_on else 0
    return Recovery(launch.at - at if launch else None, goes_on[0].at - at if goes_on else None, redone)


def count_fenced_steps(trace: list[Event]) -> int:
    """Steps that an attempt began after a later one had been launched."""
    launches: dict[int, float] = {}
    for event in trace:
        if event.what == "launch":
            launches.setdefault(event.epoch, event.at)
    return sum(
        event.what == "step" and any(epoch > event.epoch and at < event.at for epoch, at in launches.items())
        for event in trace
    )
