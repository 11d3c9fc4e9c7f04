"""Wake-up calls to the workers. A lost one does no harm: leases.reconcile() sends another.

Sending happens in a thread of its own, so that a broker that is dead, or accepts connections and then keeps silent,
never holds up a web request.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import time
from typing import Any

from celery import current_app

log = logging.getLogger(__name__)

TASK_NAME = "models_registry.wake"
ENOUGH_WAITING = 10
"""Hints that may lie in a broker's queue unread: while all workers are busy for hours, more of them say nothing new."""

CONNECT_TIMEOUT_S = 3
_EXIT_GRACE_S = 2.0

_unsent: queue.Queue[str] = queue.Queue(maxsize=50)
_sender: threading.Thread | None = None
_sender_lock = threading.Lock()


def send_hint(queue_name: str) -> None:
    """Tells one worker of ``queue_name`` to look for work. Returns at once and never raises."""
    global _sender
    try:
        _unsent.put_nowait(queue_name)
    except queue.Full:  # the broker has been away for a while; the reconciler will speak up again
        return
    with _sender_lock:
        if _sender is None or not _sender.is_alive():
            _sender = threading.Thread(target=_send_all, name="hints", daemon=True)
            _sender.start()


def flush_hints(timeout_s: float) -> bool:
    """Waits until everything is sent or given up; False when that took longer than ``timeout_s`` seconds."""
    deadline = time.monotonic() + timeout_s
    while _unsent.unfinished_tasks:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _send_all() -> None:
    while True:
        name = _unsent.get()
        try:
            _publish(name)
        except Exception as error:  # whatever a broker's library raises, the row waits in the database
            log.warning("No worker could be woken for %s, the broker does not answer: %s", name, error)
        finally:
            _unsent.task_done()


def _publish(name: str) -> None:
    with current_app.connection_for_write(connect_timeout=CONNECT_TIMEOUT_S) as connection:
        connection.ensure_connection(max_retries=1, timeout=CONNECT_TIMEOUT_S)
        # Declaring a queue that is there changes nothing and tells how many messages lie in it.
        declared: Any = current_app.amqp.queues[name](connection.default_channel).queue_declare()
        if declared.message_count < ENOUGH_WAITING:
            current_app.send_task(TASK_NAME, args=[name], queue=name, connection=connection, retry=False)


def _forget_after_fork() -> None:
    """A child has no sender thread, and the lock of the parent's queue may have been held at the fork."""
    global _unsent, _sender, _sender_lock
    _unsent, _sender, _sender_lock = queue.Queue(maxsize=50), None, threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)
# A command that queues something and leaves gets a moment to say so.
atexit.register(flush_hints, _EXIT_GRACE_S)
