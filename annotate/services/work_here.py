"""Doing background work at once, in this process: what the management commands need."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.db import transaction

from models_registry import leases
from models_registry.models import LeasedWork

Work = TypeVar("Work", bound=LeasedWork)


def do_work_here(make: Callable[[], Work], run: Callable[[Work, Callable[[], None]], None]) -> Work:
    """Makes a row of work, does it, and returns the row as it is then, finished or failed with a cause."""
    with transaction.atomic():  # claimed in the transaction that makes it: no worker ever sees it waiting
        made = make()
        work = leases.claim(made, leases.name_owner())
    if work is None:
        raise leases.LeaseLost(str(made))
    with leases.keep_alive(work) as still_mine:
        try:
            run(work, still_mine)
        except leases.WorkFailed as failure:
            leases.fail(work, failure.code, str(failure))
        except BaseException:
            leases.fail(work, "interrupted", "The command was interrupted.")
            raise
    work.refresh_from_db()
    return work
