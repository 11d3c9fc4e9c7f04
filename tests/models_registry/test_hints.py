"""A web request is neither held up nor spoiled by a broker that is dead, silent or full."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from config.celery import build_broker_settings
from models_registry import hints

LAUNCH = """
import time
import django
django.setup()
from models_registry.hints import flush_hints, send_hint
began = time.monotonic()
for _number in range(100):
    send_hint("gpu")
print("sent in", time.monotonic() - began)
assert not flush_hints(0)
"""


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield server.getsockname()[1]


@pytest.fixture
def dead_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.mark.parametrize("kind", ["dead", "silent"])
def test_broker_that_does_not_answer_holds_nobody_up(
    kind: str, dead_port: int, silent_port: int, data_dir: Path
) -> None:
    port = dead_port if kind == "dead" else silent_port
    env = os.environ | {"CELERY_BROKER_URL": f"redis://127.0.0.1:{port}/0", "DATA_DIR": str(data_dir)}
    env["DJANGO_SETTINGS_MODULE"] = "config.settings"
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.rpartition(" ")[2]) < 0.5
    assert time.monotonic() - began < 20  # even the process's end waits only a moment


@pytest.fixture
def broker_folder(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hints' broker is one of files in this test's folder, whatever the house's is."""
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)  # Celery itself would prefer it
    app = Celery("test", set_as_current=False)
    app.conf.update(broker_url="files://", **build_broker_settings("files://"))
    monkeypatch.setattr(hints, "current_app", app)
    return data_dir / "broker" / "messages"


def test_hint_reaches_the_queue(broker_folder: Path) -> None:
    hints.send_hint("gpu")
    assert hints.flush_hints(10)
    assert [path.name.partition(".")[2] for path in broker_folder.iterdir()] == ["gpu.msg"]


def test_hints_do_not_pile_up_while_all_workers_are_busy(broker_folder: Path) -> None:
    for _number in range(3 * hints.ENOUGH_WAITING):
        hints.send_hint("gpu")
    hints.send_hint("short")
    assert hints.flush_hints(20)
    queues = [path.name.partition(".")[2] for path in broker_folder.iterdir()]
    assert (queues.count("gpu.msg"), queues.count("short.msg")) == (hints.ENOUGH_WAITING, 1)


def test_fork_starts_with_a_clean_slate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent's lock may be held at the fork; a child that inherited it would wait for ever."""
    sent: list[Any] = []
    monkeypatch.setattr(hints, "_publish", sent.append)
    hints._sender_lock.acquire()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        hints.send_hint("gpu")
        os.write(writer, b"1" if hints.flush_hints(5) else b"0")
        os._exit(0)
    hints._sender_lock.release()
    os.waitpid(child, 0)
    assert os.read(reader, 1) == b"1"
