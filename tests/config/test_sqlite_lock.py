"""The lock in which writers to SQLite line up: it ends with the transaction, and no fork carries it away."""

from __future__ import annotations

import fcntl
import os
import time

import pytest
from django.db import connection, transaction

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
