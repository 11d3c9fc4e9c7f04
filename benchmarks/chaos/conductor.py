"""Launches runs over the API and lets things happen to them at moments drawn by a seed; faults.py has the things."""

from __future__ import annotations

import json
import math
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.contrib.auth.models import User
from django.db import DatabaseError, InterfaceError, connection
from knox.models import get_token_model

from annotate.exporting.rule import DatasetRule
from annotate.models import DatasetVersion
from annotate.services.datasets import build_dataset_version, freeze_dataset
from annotate.services.work_here import do_work_here
from benchmarks.chaos.house import House
from benchmarks.chaos.servers import Server
from benchmarks.chaos.traces import Event, read_trace
from benchmarks.chaos.trial import SAVE_EVERY, STEPS
from benchmarks.labeling.stage import fill_project
from models_registry.models import ModelSource, ModelVersion
from models_registry.services import register_model
from tests.tiny_models import make_tiny_policy
from training.models import Run

METHODS = ("dpo", "sft", "reward")
VALUES = {
    "max_steps": STEPS,
    "epochs": 20,
    "save_steps": SAVE_EVERY,
    "logging_steps": 1,
    "eval_steps": 0,
    "batch_size": 2,
    "gradient_accumulation": 1,
    "max_length": 160,
    "overlong": "truncate",
    "learning_rate": 1e-3,
    "precision": "fp32",
    "gradient_checkpointing": "off",
}
LOOK_EVERY_S = 0.1
PATIENCE_S = 300.0
"""Whatever is waited for longer than this does not happen any more."""

T = TypeVar("T")


class Stuck(Exception):
    """Something that must happen did not happen in time."""


@dataclass
class Mark:
    """One fault that happened to a run."""

    run: int
    fault: str
    at: float
    epoch: int
    """At work when it happened."""
    seen: dict[str, Any] = field(default_factory=dict)
    """What the fault itself measured."""


class Conductor:
    """``servers`` are those that may be killed: ``broker`` and ``database``, where the set-up has them."""

    def __init__(self, house: House, servers: dict[str, Server], *, seed: int) -> None:
        self.house, self.servers, self.seed = house, servers, seed
        self.trace_folder = Path(os.environ["CHAOS_TRACE"])
        self.url = f"http://127.0.0.1:{settings.PORT}"
        self.marks: list[Mark] = []
        self.methods: dict[int, str] = {}
        """By run."""
        self.problems: list[str] = []
        self.one_frozen = threading.Lock()
        """There is a device to spare for one frozen worker, not for two."""

    # -- The house's furniture ----------------------------------------------------------------------------------------

    def furnish(self) -> None:
        """People, votes, a dataset version and a base model, made by the product's own services."""
        project, _people = fill_project(60, 4, judged_share=1.0)
        self.admin: User = project.created_by
        self.token = get_token_model().objects.create(self.admin)[1]

        def freeze() -> DatasetVersion:
            return freeze_dataset(project=project, rule=DatasetRule(), by=self.admin)

        self.dataset = do_work_here(freeze, build_dataset_version)
        make_tiny_policy(settings.MODEL_ROOTS[0] / "tiny")
        self.base = register_model(source=ModelSource.FOLDER, ref="0/tiny", name="tiny", by=self.admin)

    def wait_until_ready(self) -> None:
        self.wait_for(lambda: self.answers("/readyz"), "the web server")
        self.wait_for(lambda: ModelVersion.objects.get(pk=self.base.pk).is_ready, "the base model")

    # -- The API ------------------------------------------------------------------------------------------------------

    def answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (OSError, HTTPException):
            return False

    def post(self, path: str, body: Any = None) -> int:
        """The status; 0 where no answer came."""
        headers = {"Content-Type": "application/json", "Authorization": f"Token {self.token}"}
        request = urllib.request.Request(self.url + path, json.dumps(body or {}).encode(), headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except (OSError, HTTPException):
            return 0

    def launch(self, name: str, method: str) -> Run:
        """Asks until there is an answer; a second request for what an unanswered one did is refused by its name."""
        body = {"name": name, "method": method, "dataset_version": self.dataset.pk, "base_model": self.base.pk}
        asked: list[int] = []

        def ask() -> bool:
            asked.append(self.post("/api/v1/runs/", body | {"values": VALUES}))
            return asked[-1] in (202, 400)

        self.wait_for(ask, f"an answer to the launch of {name}")
        if asked[-1] == 400 and not any(status == 0 or status >= 500 for status in asked[:-1]):
            raise Stuck(f"{name} was refused")
        run = self.read(lambda: Run.objects.get(name=name))
        self.methods[run.pk] = method
        return run

    # -- Looking ------------------------------------------------------------------------------------------------------

    def read(self, query: Callable[[], T]) -> T:
        """Tries again while the database is away."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return query()
            except (DatabaseError, InterfaceError) as error:
                connection.close()
                if time.monotonic() > deadline:
                    raise Stuck("the database stayed away") from error
                time.sleep(0.2)

    def look(self, run: Run) -> Run:
        return self.read(lambda: Run.objects.get(pk=run.pk))

    def trace(self, run: Run) -> list[Event]:
        return read_trace(self.trace_folder, run.pk)

    def wait_for(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + seconds
        while not self.read(condition):
            if time.monotonic() > deadline:
                raise Stuck(f"waited {seconds:.0f} s for {what}")
            time.sleep(LOOK_EVERY_S)

    def wait_for_step(self, run: Run, step: int) -> list[Event]:
        """Until the newest attempt has begun ``step``, or the run is over; gives that attempt's events."""
        newest: list[Event] = []

        def is_there() -> bool:
            trace = self.trace(run)
            newest[:] = [event for event in trace if event.epoch == max(event.epoch for event in trace)]
            return any(event.step >= step for event in newest) or self.look(run).is_over

        self.wait_for(is_there, f"step {step} of run {run.pk}")
        return newest

    def wait_for_end(self, run: Run) -> Run:
        self.wait_for(lambda: self.look(run).is_at_rest, f"the end of run {run.pk}")
        return self.look(run)

    def mark(self, run: Run, fault: str, at: float, epoch: int, **seen: Any) -> Mark:
        mark = Mark(run.pk, fault, at, epoch, seen)
        self.marks.append(mark)
        return mark

    # -- Many at a time -----------------------------------------------------------------------------------------------

    def draw(self, name: str) -> random.Random:
        """The same for the same seed and name, whatever the order in which things come to pass."""
        return random.Random(f"{self.seed} {name}")

    def side_by_side(self, jobs: Iterable[Callable[[], None]], lanes: int, *, until: float = math.inf) -> None:
        """Works ``jobs`` off, so many at a time; what goes wrong in one is noted, and the others go on.

        After the moment ``until`` none is begun.
        """
        waiting, lock = iter(list(jobs)), threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    job = next(waiting, None)
                if job is None or time.monotonic() > until:
                    break
                try:
                    job()
                except Exception as error:
                    self.problems.append(f"{type(error).__name__}: {error}")
            connection.close()

        threads = [threading.Thread(target=work, daemon=True) for _lane in range(lanes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
