"""The lock in which writers to SQLite line up: it ends with the transaction, and no fork carries it away."""

from __future__ import annotations

import fcntl
import os
import threading
import time

import pytest
from django.db import OperationalError, connection, transaction

from config.sqlite import base

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sqlite_only")]


@pytest.fixture
def sqlite_only(db: None) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL locks rows itself")


def is_locked() -> bool:
    descriptor = os.open(f"{connection.settings_dict['NAME']}.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_lock_is_held_for_the_transaction() -> None:
    assert not is_locked()
    with transaction.atomic():
        assert is_locked()
        with transaction.atomic():
            pass
        assert is_locked()
    assert not is_locked()


def test_lock_ends_with_a_transaction_that_failed() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        raise ZeroDivisionError
    assert not is_locked()


def test_fork_in_a_transaction_does_not_keep_the_lock() -> None:
    """A worker replaces a dead pool process while another of its threads writes."""
    with transaction.atomic():
        child = os.fork()
        if child == 0:
            time.sleep(20)
            os._exit(0)
    try:
        deadline = time.monotonic() + 5  # the child must come to run first
        while is_locked() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not is_locked()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_threads_of_one_process_take_turns() -> None:
    """One that waits comes at once when the other has ended, and never in the middle."""
    seen: list[str] = []

    def write(name: str) -> None:
        try:
            with transaction.atomic():
                seen.append(f"{name} in")
                time.sleep(0.02)
                seen.append(f"{name} out")
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=[str(number)]) for number in range(6)]
    with transaction.atomic():
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        assert not seen
    for thread in threads:
        thread.join(10)
    assert [entry.split()[1] for entry in seen] == ["in", "out"] * 6
    assert not is_locked()


def test_a_thread_that_waits_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def write() -> None:
        monkeypatch.setitem(
            connection.settings_dict, "OPTIONS", connection.settings_dict["OPTIONS"] | {"timeout": 0.05}
        )
        try:
            with transaction.atomic():
                pass
        except OperationalError as error:
            told.append(str(error))
        finally:
            connection.close()

    with transaction.atomic():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join(10)
    assert "holds it for too long" in told[0]
    with transaction.atomic():
        assert is_locked()


def test_a_fork_can_write_whatever_the_other_threads_held() -> None:
    """The turn of a thread that does not exist in the child must not be waited for."""
    with transaction.atomic():
        child = os.fork()
        if child == 0:
            os._exit(0 if not base._turns and not base._held else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert is_locked(), "the parent's transaction keeps its own"
