"""SQLite with writers that queue up instead of failing.

SQLite lets one connection write at a time and makes the others spin on a busy timeout, without order: under load some
wait for seconds. Here a transaction first takes a lock file (``<database>.lock``, flock), so threads and processes,
web and workers alike, line up; measurements are in DECISIONS.md. Every ``transaction.atomic()`` gets this without
another word in the services, which read the same on PostgreSQL.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from typing import Any

from django.db import OperationalError
from django.db.backends.sqlite3 import base

_TOO_LONG = "database is locked: another writer holds it for too long"
_turns: dict[str, threading.Lock] = {}
"""By the database's name: held by the thread that has its lock file, or waits for other processes to give it back."""
_held: dict[int, threading.Lock] = {}
"""By the descriptor of a lock file that is locked: the turn that goes with it."""


def _forget_locks_after_fork() -> None:
    """A fork in the middle of another thread's transaction must not keep that lock: flock lives as long as any copy."""
    while _held:
        os.close(_held.popitem()[0])
    _turns.clear()


os.register_at_fork(after_in_child=_forget_locks_after_fork)


class DatabaseWrapper(base.DatabaseWrapper):
    _lock_descriptor: int | None = None

    def _start_transaction_under_autocommit(self) -> None:
        self._take_write_lock()
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self._drop_write_lock()
            raise

    def _commit(self) -> None:
        try:
            super()._commit()  # type: ignore[misc]
        finally:
            # A commit that failed leaves the transaction open for the rollback that follows.
            if self.connection is None or not self.connection.in_transaction:
                self._drop_write_lock()

    def _rollback(self) -> None:
        try:
            super()._rollback()  # type: ignore[misc]
        finally:
            self._drop_write_lock()

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self._drop_write_lock()

    def _take_write_lock(self) -> None:
        """First among the threads of this process, who wake each other; then, by looking again and again, the file."""
        name = str(self.settings_dict["NAME"])
        if self._lock_descriptor is not None or "memory" in name:
            return
        deadline = time.monotonic() + float(self.settings_dict["OPTIONS"].get("timeout", 20))
        turn = _turns.setdefault(name, threading.Lock())
        if not turn.acquire(timeout=deadline - time.monotonic()):
            raise OperationalError(_TOO_LONG)
        try:
            self._lock_descriptor = _lock_file(f"{name}.lock", deadline)
        except BaseException:
            turn.release()
            raise
        _held[self._lock_descriptor] = turn

    def _drop_write_lock(self) -> None:
        if self._lock_descriptor is not None:
            # Not held any more when this is a fork: its copy was closed there.
            if turn := _held.pop(self._lock_descriptor, None):
                os.close(self._lock_descriptor)
                turn.release()
            self._lock_descriptor = None

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        if os.path.exists(path := str(self.settings_dict["NAME"])):
            os.chmod(path, 0o600)
        return connection


def _lock_file(path: str, deadline: float) -> int:
    """The descriptor that holds the lock until it is closed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    pause = 0.0005
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise OperationalError(_TOO_LONG) from None
            time.sleep(pause)
            pause = min(pause * 1.5, 0.01)
