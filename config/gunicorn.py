"""How the web server runs: ``python -m gunicorn -c python:config.gunicorn config.wsgi``, as `manage.py serve` calls it.

One process with threads unless WEB_WORKERS says otherwise: a second one helps a server that is full
(benchmarks/README.md).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

from config import settings

bind = f"{settings.HOST}:{settings.PORT}"
workers = settings.WEB_WORKERS
worker_class = "gthread"
threads = 8
graceful_timeout = 5
control_socket_disable = True
if settings.LOG_FORMAT == "json":
    logconfig_dict = settings.LOGGING

_METRICS = "PROMETHEUS_MULTIPROC_DIR"


def on_starting(server: Any) -> None:
    """Before the first worker: counters of requests are files that all workers write and any of them reads."""
    os.environ[_METRICS] = tempfile.mkdtemp(prefix="plumbline-metrics-")


def on_exit(server: Any) -> None:
    shutil.rmtree(os.environ.get(_METRICS, ""), ignore_errors=True)
