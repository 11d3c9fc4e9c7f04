"""A worker woken: which row it takes, and that each way to end is filed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from models_registry import leases, tasks
from models_registry.draining import start_draining, stop_draining
from models_registry.leases import HANDLERS, Handler
from models_registry.models import LeasedWork, ModelImport
from models_registry.slots import Slot
from tests.models_registry.conftest import MakeWork

SetHandler = Callable[..., None]


@pytest.fixture
def set_handler(monkeypatch: pytest.MonkeyPatch, fast: None) -> SetHandler:
    """set_handler(run): what a worker does with a model import in this test."""

    def set_handler(run: Callable[[Any, Any], None], *, is_program: bool = True, slot: str = "test") -> None:
        handlers: dict[type[LeasedWork], Handler] = HANDLERS | {ModelImport: Handler(run, is_program, slot)}
        monkeypatch.setattr(leases, "HANDLERS", handlers)
        monkeypatch.setattr(tasks, "HANDLERS", handlers)

    return set_handler


def raise_error(error: BaseException) -> Callable[[Any, Any], None]:
    def run(_work: Any, _second: Any) -> None:
        raise error

    return run


def make_full_database_error() -> OperationalError:
    """As Django raises it from SQLite's."""
    error = OperationalError("database or disk is full")
    error.__cause__ = sqlite3.OperationalError("database or disk is full")
    error.__cause__.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (leases.WorkCancelled(), "cancelled", ""),
        (leases.WorkDrained(), "queued", ""),
        (leases.WorkCrashed("It vanished."), "queued", ""),
        (leases.WorkFailed("bad_data", "Line 3 holds no pair."), "failed", "bad_data"),
        (OperationalError("gone"), "queued", ""),
        (OSError(28, "No space left on device"), "failed", "disk_full"),
        (make_full_database_error(), "failed", "disk_full"),
        (ValueError("unforeseen"), "failed", "crashed"),
    ],
    ids=["cancelled", "drained", "crashed", "failed", "database", "disk", "full database", "unforeseen"],
)
def test_each_end_is_filed(
    make_work: MakeWork, set_handler: SetHandler, error: BaseException, state: str, code: str
) -> None:
    work = make_work()
    set_handler(raise_error(error))
    assert tasks.run_next("gpu") is True
    work.refresh_from_db()
    assert (work.state, work.cause_code) == (state, code)
    assert bool(work.cause) == (state == "failed")


def test_handler_that_forgets_the_end_is_told_on(make_work: MakeWork, set_handler: SetHandler) -> None:
    work = make_work()
    set_handler(lambda _work, _supervisor: None)
    tasks.run_next("gpu")
    work.refresh_from_db()
    assert (work.state, work.cause_code) == ("failed", "unfinished")


def test_lost_lease_writes_nothing(make_work: MakeWork, set_handler: SetHandler) -> None:
    work = make_work()

    def lose(claimed: Any, _supervisor: Any) -> None:
        ModelImport.objects.filter(pk=claimed.pk).update(epoch=9, owner="somebody else")
        raise ValueError("and then something went wrong here")

    set_handler(lose)
    tasks.run_next("gpu")
    work.refresh_from_db()
    assert (work.state, work.owner, work.cause) == ("running", "somebody else", "")


@pytest.mark.django_db(transaction=True)
def test_wake_works_everything_off_in_order(make_work: MakeWork, set_handler: SetHandler) -> None:
    rows = [make_work() for _number in range(3)]
    order: list[int] = []

    def note(work: Any, _still_mine: Any) -> None:
        order.append(work.pk)
        leases.finish(work)

    set_handler(note, is_program=False)
    tasks.wake("gpu")
    tasks.wake("gpu")
    assert order == [work.pk for work in rows]
    assert not ModelImport.objects.exclude(state="finished").exists()


def test_work_waits_while_its_slot_is_taken(make_work: MakeWork, set_handler: SetHandler) -> None:
    work = make_work()
    set_handler(lambda work, _supervisor: leases.finish(work))
    rival = Slot("test")
    assert rival.take()
    assert tasks.run_next("gpu") is False
    work.refresh_from_db()
    assert (work.state, work.epoch) == ("queued", 0)
    rival.drop()
    assert tasks.run_next("gpu") is True


@pytest.mark.django_db(transaction=True)
def test_draining_worker_takes_nothing_new(make_work: MakeWork, set_handler: SetHandler) -> None:
    work = make_work()
    set_handler(lambda work, _supervisor: leases.finish(work))
    start_draining()
    try:
        tasks.wake("gpu")
    finally:
        stop_draining()
    work.refresh_from_db()
    assert work.state == "queued"


@pytest.mark.parametrize(
    ("error", "move", "state"),
    [(leases.WorkFailed("bad_data", "Line 3."), "fail", "failed"), (leases.DatabaseLost(), "requeue", "queued")],
)
def test_end_is_filed_when_the_database_comes_back(
    make_work: MakeWork,
    set_handler: SetHandler,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    move: str,
    state: str,
) -> None:
    """Long after the lease was over, by an owner whom nobody has replaced."""
    work, now = make_work(), 0.0
    set_handler(raise_error(error))
    file, tries = getattr(leases, move), []

    def fail_at_first(*args: Any) -> None:
        tries.append(args)
        if len(tries) < 300:
            raise OperationalError("restarting")
        file(*args)

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(leases, move, fail_at_first)
    monkeypatch.setattr("models_registry.tasks.connection.close", lambda: None)
    monkeypatch.setattr("models_registry.tasks.time", SimpleNamespace(sleep=sleep, monotonic=lambda: now))
    tasks.run_next("gpu")
    work.refresh_from_db()
    assert (work.state, work.crashes) == (state, 0)
