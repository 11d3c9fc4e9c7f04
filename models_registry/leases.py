"""Who works on what: every move of a LeasedWork row from queued to its end.

A worker takes a row by compare-and-swap, which raises ``epoch`` and sets a lease by the database's clock. Every later
write names that epoch and the state ``running``; zero rows changed means that the lease went to somebody else, and
raises LeaseLost. ``reconcile`` brings the rows of dead owners back. The broker only carries hints (hints.py).

Each function is one transaction and locks only the row it moves. ``finish`` inside a caller's transaction makes
everything in it happen under the lease, or not at all.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

from django.apps import apps
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import BooleanField, Case, F, Q, QuerySet, When
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from models_registry.hints import send_hint
from models_registry.machines import Machine
from models_registry.turns import NORMAL, Turn, make_turn
from models_registry.work import LeasedWork, WorkState
from models_registry.workers import list_workers

log = logging.getLogger(__name__)
Work = TypeVar("Work", bound=LeasedWork)
ListWaiting = Callable[[Machine], list[tuple[Turn, LeasedWork]]]

_MAX_MESSAGE = 500


class LeaseLost(Exception):
    """The row is not this owner's any more; nothing more may be written for it."""


class WorkGivenBack(Exception):
    """This attempt ended through no fault of the work, which waits for a worker again; the text says why."""


class DatabaseLost(WorkGivenBack):
    """The database did not answer for most of a lease."""

    def __init__(self) -> None:
        super().__init__("The database did not answer; waiting to go on.")


class WorkCancelled(Exception):
    """A person asked for an end."""


class WorkPaused(Exception):
    """It saved what it had and waits for a person: one asked for it (no ``code``), or something stands in the way."""

    def __init__(self, code: str = "", text: str = "") -> None:
        super().__init__(text)
        self.code = code


class WorkDrained(WorkGivenBack):
    """The worker is shutting down."""

    def __init__(self) -> None:
        super().__init__("The worker was shut down; waiting for another.")


class WorkCrashed(Exception):
    """The work died without giving a cause; it is tried again, a few times."""


class WorkFailed(Exception):
    """A failure with a cause in words; trying again without a change would fail again."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class CannotCancel(Exception):
    """It is over already."""


class CannotPause(Exception):
    """It is over, paused or being cancelled already."""


class CannotResume(Exception):
    """It is not paused, or what stopped it still stands in the way."""


class CannotRetry(Exception):
    """Only what failed or was cancelled can be tried again."""


@dataclass(frozen=True)
class Handler:
    """What a worker does with a claimed row.

    ``slot``: work of one slot runs one at a time on a machine. ``is_program``: runs programs under a supervisor;
    otherwise in the worker itself. ``list_waiting``: the queued rows that may go next on a machine, with their turns;
    without it that is the oldest one.
    """

    run: Callable[[Any, Any], None]
    is_program: bool
    slot: str = ""
    list_waiting: ListWaiting | None = None


HANDLERS: dict[type[LeasedWork], Handler] = {}
MOST_CALLED = 20
"""Workers that are called at once for work that not every worker can take."""

LISTENERS: list[Callable[[LeasedWork, str], None]] = []
"""Called inside the transaction of a move that nobody asked for: finished, failed, paused (by something that stands in
its way), lost (with its worker), odd (it goes on, and looks wrong)."""


@dataclass(frozen=True)
class Chore:
    """Small work of a queue that has no row of its own to lease; done when its workers have nothing else to do."""

    queue: str
    is_due: Callable[[], bool]
    run: Callable[[], None]


CHORES: list[Chore] = []


def register_task(model: type[LeasedWork], run: Callable[[Any, Callable[[], None]], None]) -> None:
    """``run(work, still_mine)`` does the work in the worker; ``still_mine()`` raises LeaseLost or WorkCancelled."""
    HANDLERS[model] = Handler(run, is_program=False)


def register_program(
    model: type[LeasedWork],
    run: Callable[[Any, Any], None],
    *,
    slot: str,
    list_waiting: ListWaiting | None = None,
) -> None:
    """``run(work, supervisor)`` does the work by programs; see supervisor.py."""
    HANDLERS[model] = Handler(run, is_program=True, slot=slot, list_waiting=list_waiting)


def name_owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def list_work_models(queue: str | None = None) -> list[type[LeasedWork]]:
    models = [model for model in apps.get_models() if issubclass(model, LeasedWork)]
    return [model for model in models if queue is None or model.queue == queue]


# -- By people --------------------------------------------------------------------------------------------------------


@transaction.atomic
def enqueue(work: LeasedWork, *, by_all: bool = False) -> None:
    """Calls a worker for a queued row once the surrounding transaction is committed. A dead broker does no harm.

    ``by_all``: not every worker can take it, so all that live are called.
    """
    _rows(work).filter(state=WorkState.QUEUED).update(hinted_at=Now())
    for _call in range(_count_workers(work.queue) if by_all else 1):
        transaction.on_commit(partial(send_hint, work.queue))


@transaction.atomic
def request_cancel(work: LeasedWork) -> bool:
    """What waits is cancelled at once; what runs is told within seconds. Raises CannotCancel when it is over.

    False where somebody has asked for it before.
    """
    waiting = _rows(work).filter(state__in=[WorkState.QUEUED, WorkState.PAUSED])
    if waiting.update(**_ended(WorkState.CANCELLED), message="", cause="", cause_code=""):
        return True
    running = _rows(work).filter(state=WorkState.RUNNING)
    if running.filter(cancel_requested=False).update(cancel_requested=True):
        return True
    if not running.exists():
        raise CannotCancel(_("This is over already."))
    return False


@transaction.atomic
def request_pause(work: LeasedWork) -> bool:
    """What waits is paused at once; what runs saves and leaves its device first. Raises CannotPause.

    False where somebody has asked for it before.
    """
    if _rows(work).filter(state=WorkState.QUEUED, cancel_requested=False).update(**_paused(), message=""):
        return True
    running = _rows(work).filter(state=WorkState.RUNNING, cancel_requested=False)
    if running.filter(pause_requested=False).update(pause_requested=True):
        return True
    if running.exists():
        return False
    work.refresh_from_db(fields=["state"])
    if work.is_over:
        raise CannotPause(_("This is over already."))
    raise CannotPause(_("This is paused or being cancelled already."))


@transaction.atomic
def resume(work: LeasedWork) -> None:
    """Paused work waits for a worker again, its crashes forgiven. Raises CannotResume otherwise."""
    fresh = {"cause": "", "cause_code": "", "crashes": 0, "message": "", "pause_requested": False}
    if not _rows(work).filter(state=WorkState.PAUSED, cancel_requested=False).update(state=WorkState.QUEUED, **fresh):
        raise CannotResume(_("Only what is paused can be resumed."))
    enqueue(work)


@transaction.atomic
def retry(work: LeasedWork) -> None:
    """Failed or cancelled work waits for a worker again. Raises CannotRetry otherwise."""
    over = _rows(work).filter(state__in=[WorkState.FAILED, WorkState.CANCELLED])
    fresh = {"cause": "", "cause_code": "", "crashes": 0, "cancel_requested": False, "finished_at": None}
    if not over.update(state=WorkState.QUEUED, message="", **fresh):
        raise CannotRetry(_("Only what failed or was cancelled can be tried again."))
    enqueue(work)


# -- By the owner -----------------------------------------------------------------------------------------------------


@transaction.atomic
def claim(work: Work, owner: str) -> Work | None:
    """The row as it is under this owner's new lease, or None when somebody else was quicker or it was cancelled."""
    free = _rows(work).filter(state=WorkState.QUEUED, cancel_requested=False, pause_requested=False)
    taken = free.update(
        state=WorkState.RUNNING,
        owner=owner,
        epoch=F("epoch") + 1,
        lease_until=_lease_end(),
        started_at=Now(),
        message="",
        cause="",
        cause_code="",
        seconds_left=None,
    )
    return type(work)._default_manager.get(pk=work.pk) if taken else None


def list_claimable(queue: str, machine: Machine) -> list[LeasedWork]:
    """The queued rows of this queue that may go next on this machine, in their turn; others queue behind them."""
    now = timezone.now()
    found: list[tuple[Turn, LeasedWork]] = []
    for model in list_work_models(queue):
        list_waiting = HANDLERS[model].list_waiting if model in HANDLERS else None
        if list_waiting:
            found += list_waiting(machine)
        elif model in HANDLERS:
            rows = model._default_manager.filter(state=WorkState.QUEUED, cancel_requested=False, pause_requested=False)
            oldest = rows.order_by("created_at", "pk")[:1]
            found += [(make_turn(NORMAL, work.created_at, now, number=work.pk), work) for work in oldest]
    return [work for _turn, work in sorted(found, key=itemgetter(0))]


@transaction.atomic
def extend(work: LeasedWork, **progress: Any) -> bool:
    """Renews the lease and files progress; then as ``look``. Raises LeaseLost."""
    _write(work, lease_until=_lease_end(), **progress)
    return look(work)


@transaction.atomic
def note(work: LeasedWork, **values: Any) -> None:
    """Files ``values`` without renewing the lease. Raises LeaseLost."""
    _write(work, **values)


def look(work: LeasedWork) -> bool:
    """Reads only: True when a person asked for an end; ``work`` then knows of that and of a pause. Raises LeaseLost."""
    asked = _mine(work).values_list("cancel_requested", "pause_requested").first()
    if asked is None:
        raise LeaseLost(str(work))
    work.cancel_requested, work.pause_requested = asked
    return work.cancel_requested


@transaction.atomic
def finish(work: LeasedWork, **values: Any) -> None:
    """Raises LeaseLost, which takes the surrounding transaction back. ``values`` are further fields of the row."""
    _write(work, **_ended(WorkState.FINISHED), **values)
    tell(work, "finished")


@transaction.atomic
def fail(work: LeasedWork, code: str, text: str) -> None:
    """Ends the work with a cause in words. Raises LeaseLost."""
    _write(work, **_ended(WorkState.FAILED), cause_code=code[:50], cause=clean_text(text), message="")
    tell(work, "failed", code)


@transaction.atomic
def cancel(work: LeasedWork) -> None:
    """Ends the work as a person asked. Raises LeaseLost."""
    _write(work, **_ended(WorkState.CANCELLED), message="")


@transaction.atomic
def pause(work: LeasedWork, code: str = "", text: str = "") -> None:
    """Ends this attempt; a person lets the next one begin. ``code`` and ``text`` say what stopped it. LeaseLost."""
    _write(work, **_paused(), cause_code=code[:50], cause=clean_text(text), message="")
    if code:
        tell(work, "paused", code)


@transaction.atomic
def requeue(work: LeasedWork, message: str = "") -> None:
    """Gives the row back to be taken up again, by whomever. Raises LeaseLost."""
    _write(work, **_waiting(), message=message[:_MAX_MESSAGE])
    transaction.on_commit(partial(send_hint, work.queue))


@transaction.atomic
def count_crash(work: LeasedWork, text: str) -> None:
    """Back to the queue, or failed when it crashed too often without getting further. Raises LeaseLost."""
    work.refresh_from_db(fields=["cancel_requested", "pause_requested", "crashes"])
    _after_crash(work, _mine(work), text)


@contextmanager
def keep_alive(work: LeasedWork) -> Iterator[Callable[[], None]]:
    """Renews the lease from a thread while work is done in this process; gives ``still_mine``."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(settings.HEARTBEAT_SECONDS):
            try:
                extend(work)
            except LeaseLost:
                return
            except (DatabaseError, InterfaceError) as error:  # it may be back before the lease is over
                log.warning("The lease of %s could not be renewed: %s", work, error)
            finally:
                connection.close()

    def still_mine() -> None:
        if look(work):
            raise WorkCancelled

    # In a copy of the context, so that what it logs names the work.
    thread = threading.Thread(target=copy_context().run, args=(renew,), name="lease", daemon=True)
    thread.start()
    try:
        yield still_mine
    finally:
        over.set()
        thread.join(timeout=30)


# -- By every worker, over and over -----------------------------------------------------------------------------------


def reconcile(*, resend_after: timedelta | None = None) -> None:
    """Brings back what dead owners left, and calls workers again for what waits longer than ``resend_after``.

    Every change is a compare-and-swap, so any number of workers may do this at the same time.
    """
    if resend_after is None:  # the last hint may lie with a worker that hangs
        resend_after = timedelta(seconds=2 * settings.RECONCILE_SECONDS)
    for model in list_work_models():
        for work in _list_abandoned(model):
            with transaction.atomic():
                unchanged = _mine(work).filter(lease_until=work.lease_until)
                _after_crash(work, unchanged, "The worker was lost.", lost=True)
        # Given back by its owner in the moment when a person asked for an end or a pause.
        waiting = model._default_manager.filter(state__in=[WorkState.QUEUED, WorkState.PAUSED])
        wishes = {"cancel_requested": _ended(WorkState.CANCELLED), "pause_requested": _paused()}
        for wish, end in wishes.items():
            unwanted = waiting.filter(**{wish: True})
            if unwanted.exists():
                with transaction.atomic():
                    unwanted.update(**end, message="")
    for queue in sorted({model.queue for model in list_work_models()}):
        chores = sum(chore.is_due() for chore in CHORES if chore.queue == queue)
        if (
            marked := _mark_hinted(queue, resend_after) + chores
        ):  # all are called, as not every worker may be able to take it
            for _hint in range(max(min(marked, 4), _count_workers(queue))):
                send_hint(queue)


_watched: dict[LeasedWork, tuple[tuple[int, Any], float]] = {}
"""Running rows: epoch and lease as last seen here, and for how many seconds of this process's steady clock."""
_looked_at: dict[type[LeasedWork], float] = {}
_BEATS_MISSED, _LOOKS_MISSED = 2, 2


def _list_abandoned(model: type[LeasedWork]) -> list[LeasedWork]:
    """Running rows whose lease is over and has not moved for two heartbeats, or has not moved for a whole lease.

    The database's clock alone does not decide: it may be set while work runs, and SQLite's is that of whoever asks. A
    living owner moves its lease with every heartbeat, whatever the time is. While the database was away none could: of
    the time between two looks, only so much counts as usually passes.
    """
    over = Case(When(lease_until__lt=Now(), then=True), default=False, output_field=BooleanField())
    rows = model._default_manager.filter(state=WorkState.RUNNING).defer("log_tail").annotate(lease_is_over=over)
    running, now = list(rows), time.monotonic()
    passed = min(now - _looked_at.get(model, now), _LOOKS_MISSED * settings.RECONCILE_SECONDS)
    _looked_at[model] = now
    before = {work: seen for work, seen in _watched.items() if isinstance(work, model)}
    for work in before:
        del _watched[work]
    abandoned: list[LeasedWork] = []
    for work in running:
        lease = (work.epoch, work.lease_until)
        seen, seconds = before.get(work, (None, 0.0))
        seconds = seconds + passed if seen == lease else 0.0
        _watched[work] = (lease, seconds)
        if seconds >= (settings.HEARTBEAT_SECONDS * _BEATS_MISSED if work.lease_is_over else settings.LEASE_SECONDS):
            abandoned.append(work)
    return abandoned


def _mark_hinted(queue: str, resend_after: timedelta) -> int:
    """How many rows of this queue have waited without a hint; they count as hinted from now on."""
    marked = 0
    for model in list_work_models(queue):
        silent = Q(hinted_at__isnull=True) | Q(hinted_at__lte=Now() - resend_after)
        rows = model._default_manager.filter(silent, state=WorkState.QUEUED)
        if rows.exists():  # on SQLite a write, even of nothing, waits in line with the labelers' answers
            with transaction.atomic():
                marked += rows.update(hinted_at=Now())
    return marked


def _count_workers(queue: str) -> int:
    """How many to call so that each one that takes new work of this queue hears of it; at least one."""
    return min(MOST_CALLED, max(1, sum(worker.takes(queue) for worker in list_workers())))


def _after_crash(work: LeasedWork, rows: QuerySet[Any], text: str, *, lost: bool = False) -> None:
    """``lost``: said by somebody else than the owner, who may have been quicker."""
    code = ""
    if work.cancel_requested:
        moved = rows.update(**_ended(WorkState.CANCELLED), message="")
    elif work.pause_requested:
        moved = rows.update(**_paused(), message="")
    elif work.crashes >= settings.MAX_CRASHES:
        code = "crashed"
        cause = f"{text} It was started {work.crashes + 1} times and ended early each time without getting further."
        failed = _ended(WorkState.FAILED)
        moved = rows.update(**failed, crashes=F("crashes") + 1, cause_code="crashed", cause=clean_text(cause))
    else:
        log.warning("%s %s is taken up again: %s", type(work).__name__, work.pk, text)
        moved = rows.update(**_waiting(), crashes=F("crashes") + 1, message=clean_text(text)[:_MAX_MESSAGE])
        transaction.on_commit(partial(send_hint, work.queue))
    if moved and code:
        tell(work, "failed", code)
    elif moved and lost and not work.cancel_requested and not work.pause_requested:
        tell(work, "lost")
    if not moved and not lost:
        raise LeaseLost(str(work))


def tell(work: LeasedWork, move: str, code: str = "") -> None:
    """Within the transaction of what happened; ``code`` is that of its cause."""
    work.cause_code = code
    for listen in LISTENERS:
        listen(work, move)


def clean_text(text: str) -> str:
    """Without NUL, which PostgreSQL does not store."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _rows(work: LeasedWork) -> QuerySet[Any]:
    return type(work)._default_manager.filter(pk=work.pk)


def _mine(work: LeasedWork) -> QuerySet[Any]:
    return _rows(work).filter(epoch=work.epoch, state=WorkState.RUNNING)


def _write(work: LeasedWork, **values: Any) -> None:
    if not _mine(work).update(**values):
        raise LeaseLost(f"{type(work).__name__} {work.pk}, epoch {work.epoch}")


def _lease_end() -> Any:
    return Now() + timedelta(seconds=settings.LEASE_SECONDS)


def _ended(state: WorkState) -> dict[str, Any]:
    over = {"state": state, "lease_until": None, "finished_at": Now(), "seconds_left": None}
    return over | {"pause_requested": False}


def _paused() -> dict[str, Any]:
    return {**_waiting(), "state": WorkState.PAUSED, "hinted_at": None, "pause_requested": False}


def _waiting() -> dict[str, Any]:
    return {"state": WorkState.QUEUED, "owner": "", "lease_until": None, "seconds_left": None, "hinted_at": Now()}
