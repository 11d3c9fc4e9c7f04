"""What a Celery worker of the house does: woken, it takes the row whose turn it is and works it to its end.

celery -A config worker -Q short,gpu -c 3
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from celery import shared_task
from celery.signals import worker_init, worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connection

from models_registry import leases, machines, mailing
from models_registry.disk import is_disk_full
from models_registry.draining import is_draining, start_draining, stop_draining
from models_registry.hints import TASK_NAME
from models_registry.leases import (
    HANDLERS,
    LeaseLost,
    WorkCancelled,
    WorkCrashed,
    WorkFailed,
    WorkGivenBack,
    WorkPaused,
)
from models_registry.log_lines import bind_log_fields
from models_registry.models import ModelImport
from models_registry.services import prepare_model
from models_registry.slots import Slot
from models_registry.supervisor import Supervisor
from models_registry.work import LeasedWork
from models_registry.workers import beat, sign_off

log = logging.getLogger(__name__)

_leaving, _gone = threading.Event(), threading.Event()
_rounds: list[threading.Thread] = []
_AWAY_AT_MOST_S = 3600.0
_GOODBYE_S = 5.0
"""How long a worker that leaves waits for the database to take note of it."""


@shared_task(name=TASK_NAME, bind=True)
def wake(self: Any, queue: str) -> None:
    """Works until nothing of ``queue`` waits that this worker can take, or the worker is asked to leave."""
    owner = f"{self.request.hostname or socket.gethostname()}:{os.getpid()}"
    while not is_draining() and run_next(queue, owner):
        close_old_connections()
    for chore in leases.CHORES:
        if chore.queue == queue and not is_draining() and chore.is_due():
            chore.run()


def run_next(queue: str, owner: str = "") -> bool:
    """Claims the row whose turn it is and whose slot is free, and works it to its end; False when there is none."""
    for candidate in leases.list_claimable(queue, machines.describe_machine()):
        slot = Slot(HANDLERS[type(candidate)].slot)
        try:
            if slot.take() and (work := leases.claim(candidate, owner or leases.name_owner())):
                run_claimed(work, slot)
                return True
        finally:
            slot.drop()
    return False


def run_claimed(work: LeasedWork, slot: Slot) -> None:
    """Runs the handler and files how it ended. Whatever happens, the row does not stay ``running`` for long."""
    with bind_log_fields(kind=type(work).__name__.lower(), work=work.pk, epoch=work.epoch):
        log.info("%s %s, epoch %s: started", type(work).__name__, work.pk, work.epoch)
        end = _run_handler(work, slot)
        try:
            _insist(end)
            log.info("%s %s, epoch %s: over", type(work).__name__, work.pk, work.epoch)
        except LeaseLost as error:
            log.warning("The lease was lost: %s", error)


def _run_handler(work: LeasedWork, slot: Slot) -> Callable[[], None]:
    """What remains to be written once the handler is through."""
    handler = HANDLERS[type(work)]
    try:
        if handler.is_program:
            handler.run(work, Supervisor(work, slot))
        else:
            with leases.keep_alive(work) as still_mine:
                handler.run(work, still_mine)
        return partial(_require_over, work)
    except LeaseLost as error:
        log.warning("The lease was lost: %s", error)
        return lambda: None
    except WorkGivenBack as error:
        log.info("%s %s is given back: %s", type(work).__name__, work.pk, error)
        return partial(leases.requeue, work, str(error))
    except WorkCancelled:
        return partial(leases.cancel, work)
    except WorkPaused as error:
        return partial(leases.pause, work, error.code, str(error))
    except WorkFailed as error:
        return partial(leases.fail, work, error.code, str(error))
    except WorkCrashed as error:
        return partial(leases.count_crash, work, str(error))
    except Exception as error:  # the cause must reach the page
        log.exception("%s %s failed", type(work).__name__, work.pk)
        if is_disk_full(error):
            return partial(leases.fail, work, "disk_full", "The disk is full. Free some space, then try again.")
        if isinstance(error, OperationalError | InterfaceError):
            return partial(leases.count_crash, work, f"The database failed: {error}")
        return partial(leases.fail, work, "crashed", f"{type(error).__name__}: {error}")


def _require_over(work: LeasedWork) -> None:
    work.refresh_from_db(fields=["state"])
    if not work.is_over:
        leases.fail(work, "unfinished", "The work ended without saying how.")


def _insist(write: Callable[[], None]) -> None:
    """Tries again while the database is away, however long: what its owner files itself is no crash of the work.

    What the database refuses is tried until the lease is over and the row is the reconciler's.
    """
    deadline = time.monotonic() + settings.LEASE_SECONDS
    while True:
        try:
            return write()
        except (DatabaseError, InterfaceError) as error:
            is_away = isinstance(error, OperationalError | InterfaceError) and not is_draining()
            if time.monotonic() > deadline + (_AWAY_AT_MOST_S if is_away else 0):
                raise LeaseLost(str(error)) from error
            log.warning("The end of the work could not be filed, trying again: %s", error)
            connection.close()
            time.sleep(1)


@worker_init.connect
def _look_at_machine(**_kwargs: Any) -> None:
    """Before the pool is forked, so that its processes need not look again."""
    machines.describe_machine()


@worker_ready.connect
def _start_rounds(sender: Any, **_kwargs: Any) -> None:
    name, queues = sender.hostname, sorted(sender.app.amqp.queues.consume_from)
    _rounds.append(threading.Thread(target=_go_rounds, args=(name, queues), name="rounds", daemon=True))
    _rounds[-1].start()


@worker_shutting_down.connect
def _tell_pool(**_kwargs: Any) -> None:
    _leaving.set()
    start_draining()


@worker_shutdown.connect
def _clear_up(**_kwargs: Any) -> None:
    stop_draining()
    _gone.set()
    for thread in _rounds:
        thread.join(timeout=_GOODBYE_S)


def _go_rounds(name: str, queues: list[str]) -> None:
    """In the worker's main process: says that it lives, and reconciles for as long as it takes new work.

    The first round calls for all that waits: hints may be lost with a broker.
    """
    resend_after: timedelta | None = timedelta(0)
    while not _gone.is_set():
        is_leaving = _leaving.is_set()
        try:
            free = shutil.disk_usage(settings.DATA_DIR).free
            beat(name, queues, dataclasses.replace(machines.describe_machine(), disk_free=free), is_leaving=is_leaving)
            if not is_leaving:
                leases.reconcile(resend_after=resend_after)
                resend_after = None
        except Exception:  # a database that is away for a moment must not end this thread
            log.exception("Reconciling failed; trying again")
        finally:
            connection.close()
        (_gone if is_leaving else _leaving).wait(settings.RECONCILE_SECONDS)
    with suppress(DatabaseError, InterfaceError):  # then the row grows stale
        sign_off(name)
    connection.close()


leases.register_program(ModelImport, prepare_model, slot="import")
leases.CHORES.append(leases.Chore(mailing.MAIL_QUEUE, mailing.are_mails_due, mailing.send_due_mails))
