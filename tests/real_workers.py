"""Real Celery workers on the test's own database, folder and broker, with leases of seconds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.conf import settings as django_settings
from django.db import connection

from config.broker import build_files_options

StartWorker = Callable[..., subprocess.Popen[bytes]]


@contextmanager
def run_workers(data_dir: Path, monkeypatch: pytest.MonkeyPatch, *, app: str) -> Iterator[StartWorker]:
    """Gives start_worker(pool="1", **environment): its output lies in worker-N.log; all are killed at the end."""
    if str(current_app.conf.broker_url).startswith("files"):
        for name, value in build_files_options(data_dir).items():
            monkeypatch.setitem(current_app.conf.broker_transport_options, name, value)
    monkeypatch.setattr(django_settings, "LEASE_SECONDS", 4)
    monkeypatch.setattr(django_settings, "HEARTBEAT_SECONDS", 1)  # should the test work something itself
    house = os.environ | {
        "DATA_DIR": str(data_dir),
        "DATABASE_URL": name_database(),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "CELERY_BROKER_URL": django_settings.CELERY_BROKER_URL,
        "LEASE_SECONDS": "4",
        "HEARTBEAT_SECONDS": "1",
        "RECONCILE_SECONDS": "1",
        "LOG_LEVEL": "INFO",
    }
    started: list[subprocess.Popen[bytes]] = []

    def start_worker(*, pool: str = "1", **environment: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "celery", "-A", app, "-q", "worker", "-Q", "gpu"]
        argv += ["-c", pool, "-n", f"worker{len(started)}@%h", "--without-gossip", "--without-mingle", "-l", "INFO"]
        with (data_dir / f"worker-{len(started)}.log").open("wb") as log:
            worker = subprocess.Popen(
                argv,
                env=house | environment,
                cwd=django_settings.BASE_DIR,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(worker)
        return worker

    try:
        yield start_worker
    finally:
        for worker in started:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
        for log in sorted(data_dir.glob("worker-*.log")):  # shown by pytest when the test failed
            print(f"--- {log.name}", log.read_text(errors="replace")[-6000:], sep="\n")


def name_database() -> str:
    parts = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{parts['NAME']}"
    return f"postgres://{parts['USER']}:{parts['PASSWORD']}@{parts['HOST']}:{parts['PORT'] or 5432}/{parts['NAME']}"


def wait_until(condition: Callable[[], Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
