"""What happens in a trial, in which order, and what is found at its end."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from typing import Any

from django.db import connection

from benchmarks.chaos.audit import Outcome, audit_run, read_outcome
from benchmarks.chaos.conductor import METHODS, Conductor, Mark
from benchmarks.chaos.faults import FREEZES, KILLS, ON_HOUSES, ON_RUNS, Fault, HouseFault
from benchmarks.chaos.traces import measure_recovery
from training.models import Run

FULL = 70
"""Runs for which ON_RUNS and the other numbers here are made."""
STORMS, HOUSE_ROUNDS, CLOCKS = 2, 1, (3600, -3600)

Job = Callable[[], None]


def perform(conductor: Conductor, *, runs: int, lanes: int, only: str, minutes: float) -> dict[str, Any]:
    """About ``runs`` runs, ``lanes`` at a time; ``only`` names one kind of fault. Gives what tables.py shows.

    After so many ``minutes``, if any, nothing more is begun.
    """
    conductor.wait_until_ready()
    began, share = time.monotonic(), runs / FULL
    undisturbed = train_undisturbed(conductor)
    say("three undisturbed runs are done")
    rounds: list[Job] = []
    for fault in ON_HOUSES:
        if only in fault.__name__:
            numbers = range(max(1, round(HOUSE_ROUNDS * share)))
            rounds += [partial(disturb_all, conductor, fault, number, lanes) for number in numbers]
    if only in ("", "clock"):
        rounds += [partial(move_clock, conductor, by, lanes) for by in CLOCKS]
    jobs: list[Job] = []
    for name, (_fault, number) in ON_RUNS.items():
        if only in name:
            jobs += [partial(disturb, conductor, name, n) for n in range(max(1, round(number * share)))]
    if only in ("", "storm"):
        jobs += [partial(storm, conductor, number) for number in range(max(1, round(STORMS * share)))]
    conductor.draw("order").shuffle(jobs)
    over = began + minutes * 60 if minutes else math.inf
    conductor.side_by_side(jobs, lanes, until=over)
    conductor.side_by_side(rounds, 1, until=over)
    return audit(conductor, undisturbed) | {"seconds": time.monotonic() - began}


def train_undisturbed(conductor: Conductor) -> dict[str, Outcome]:
    """By method: what the others are held against."""
    outcomes = {}
    for launched in [conductor.launch(f"undisturbed {method}", method) for method in METHODS]:
        run = conductor.wait_for_end(launched)
        if run.model is None or run.epoch != 1:
            raise SystemExit(f"{run.name} ended {run.state} in attempt {run.epoch}: {run.cause}\n{run.log_tail}")
        outcomes[run.method] = read_outcome(run, run.model)
    return outcomes


def disturb(conductor: Conductor, name: str, number: int) -> None:
    """One run, one fault."""
    happen(conductor, f"{name} {number}", number, [ON_RUNS[name][0]])


def storm(conductor: Conductor, number: int) -> None:
    """One run, two kills, one after the other."""
    draw = conductor.draw(f"storm {number}")
    happen(conductor, f"storm {number}", number, [draw.choice(KILLS), draw.choice(KILLS)])


def happen(conductor: Conductor, name: str, number: int, faults: list[Fault]) -> None:
    draw = conductor.draw(name)
    freezes = any(fault in FREEZES for fault in faults)
    with conductor.one_frozen if freezes else nullcontext():
        run = conductor.launch(name, METHODS[number % len(METHODS)])
        for fault in faults:
            fault(conductor, run, draw)
            if len(faults) > 1:
                wait_until_taken_up(conductor, run)
        ended = conductor.wait_for_end(run)
    say(f"{name}: {ended.state} in attempt {ended.epoch}")


def wait_until_taken_up(conductor: Conductor, run: Run) -> None:
    marks = [mark for mark in conductor.marks if mark.run == run.pk]
    if marks:
        conductor.wait_for(
            lambda: (
                conductor.look(run).is_over
                or any(event.epoch > marks[-1].epoch and event.what == "step" for event in conductor.trace(run))
            ),
            f"another attempt at run {run.pk}",
        )


def disturb_all(conductor: Conductor, fault: HouseFault, number: int, lanes: int) -> None:
    """A fault of the whole house while ``lanes`` runs are in training; one more is launched meanwhile."""
    name = f"{fault.__name__} {number}"
    draw = conductor.draw(name)
    runs = [conductor.launch(f"{name} {lane}", METHODS[lane % len(METHODS)]) for lane in range(lanes)]
    for run in runs:
        conductor.wait_for_step(run, draw.randrange(1, 6))
    meanwhile: list[Run] = []

    def launch() -> Run:
        meanwhile.append(conductor.launch(f"{name} meanwhile", METHODS[number % len(METHODS)]))
        return meanwhile[-1]

    fault(conductor, runs, draw, launch)
    for run in [*runs, *meanwhile]:
        conductor.wait_for_end(run)
    say(f"{name}: done")


def move_clock(conductor: Conductor, by_s: int, lanes: int) -> None:
    """One worker's clock is off; runs are trained beside it and by it, and one of its trainers is killed."""
    wrong, by = conductor.house.workers[0], f"{by_s // 3600:+d} h"
    before = wrong.process
    conductor.house.move_clock(wrong, by_s)
    conductor.wait_for(lambda: wrong.process is not before, "the worker with the wrong clock")
    jobs: list[Job] = []
    for number in range(lanes):
        jobs.append(partial(run_beside, conductor, by, number))
    conductor.side_by_side(jobs, lanes)
    say(f"clock {by}: beside it done")
    happen(conductor, f"clock {by}, trainer killed", 0, [ON_RUNS["kill_trainer"][0]])
    happen(conductor, f"clock {by}, worker killed", 1, [ON_RUNS["kill_worker"][0]])
    conductor.house.move_clock(wrong, 0)


def run_beside(conductor: Conductor, by: str, number: int) -> None:
    run = conductor.launch(f"clock {by} {number}", METHODS[number % len(METHODS)])
    conductor.wait_for_step(run, 3)
    conductor.mark(run, f"clock of one worker {by}", time.monotonic(), conductor.look(run).epoch)
    conductor.wait_for_end(run)


def audit(conductor: Conductor, undisturbed: dict[str, Outcome]) -> dict[str, Any]:
    connection.close()  # this thread's may be one to a server that was killed
    audits = {}
    for pk, method in conductor.methods.items():
        run = Run.objects.select_related("model").get(pk=pk)
        audits[pk] = audit_run(run, conductor.trace(run), undisturbed[method]) | {
            "name": run.name,
            "state": run.state,
            "cause": run.cause,
        }
    return {
        "runs": audits,
        "marks": [describe_mark(conductor, mark) for mark in conductor.marks],
        "weights": {method: outcome.weights for method, outcome in undisturbed.items()},
        "problems": conductor.problems,
        "crowded": conductor.house.crowded,
    }


def describe_mark(conductor: Conductor, mark: Mark) -> dict[str, Any]:
    recovery = measure_recovery(conductor.trace(Run(pk=mark.run)), mark.at, mark.epoch)
    return {"run": mark.run, "fault": mark.fault, "seen": mark.seen, **asdict(recovery)}


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
