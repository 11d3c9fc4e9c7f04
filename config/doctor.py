"""Whether this machine can run the house: what is installed, reachable, migrated, writable and large enough."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from config.celery import app
from config.shared_files import write_in_one_step
from config.startup import SHORTEST_KEY
from models_registry.store import StoreError, get_file, open_store

Verdict = Literal["ok", "warning", "failure"]

PACKAGES = ("Django", "celery", "kombu", "torch", "transformers", "accelerate", "safetensors")
NEWEST_TRIED_PYTHON = (3, 11)
SAFE_SQLITE = (3, 51, 3)
"""Before it, two connections that write and checkpoint at once could corrupt a WAL database; writers stand in a row
here (config/sqlite/base.py), so an older one is a warning."""
LITTLE_SPACE, TOO_LITTLE_SPACE = 10 * 1024**3, 1024**3
"""Bytes: one checkpoint of a model of a billion parameters takes about 12 GiB."""
BROKER_TIMEOUT_S = 5


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``text`` says what was found and, unless all is well, what to do."""

    subject: str
    verdict: Verdict
    text: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def examine() -> Iterator[Finding]:
    """All checks, one after the other; none of them raises, and none changes anything."""
    for check in (*READINESS, check_store, check_versions, check_settings, check_broker, check_model_roots, check_gpus):
        yield from check()


def find_hindrance() -> Finding | None:
    """The first reason why this process can serve nobody, or None; cheap enough for every probe."""
    findings = (finding for check in READINESS for finding in check())
    return next((finding for finding in findings if finding.verdict == "failure"), None)


def check_database() -> Iterator[Finding]:
    """Reachable, migrated, and of a version that is known to be sound."""
    try:
        executor = MigrationExecutor(connection)
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version" if connection.vendor == "postgresql" else "SELECT sqlite_version()")
            version = str(cursor.fetchone()[0])
    except DatabaseError as error:
        yield Finding("database", "failure", f"It cannot be read: {first_line(error)}")
        return
    yield Finding("database", "ok", f"{connection.display_name} {version} answers.")
    if waiting:
        names = ", ".join(f"{migration.app_label} {migration.name}" for migration, _backwards in waiting[:3])
        text = f"{len(waiting)} are not applied ({names} ...). Run `python manage.py migrate`."
        yield Finding("migrations", "failure", text)
    else:
        yield Finding("migrations", "ok", "All are applied.")
    if connection.vendor == "sqlite" and sqlite3.sqlite_version_info < SAFE_SQLITE:
        text = f"{version} is older than {'.'.join(map(str, SAFE_SQLITE))}: write to this file through Plumbline alone."
        yield Finding("SQLite", "warning", text)


def check_data_dir() -> Iterator[Finding]:
    """Writable, by a real write, and with room."""
    folder: Path = settings.DATA_DIR
    try:
        free = shutil.disk_usage(folder).free
        probe = folder / f".probe.{os.getpid()}"
        write_in_one_step(probe, "probe")
        probe.unlink()
    except OSError as error:
        yield Finding("data folder", "failure", f"{folder} cannot be written to: {error.strerror}.")
        return
    verdict: Verdict = "ok" if free >= LITTLE_SPACE else "warning" if free >= TOO_LITTLE_SPACE else "failure"
    more = "" if verdict == "ok" else " Free some, or move DATA_DIR: checkpoints need room."
    yield Finding("data folder", verdict, f"{folder} has {free / 1024**3:.1f} GiB left.{more}")


def check_store() -> Iterator[Finding]:
    """By a real file, put, found, read and deleted again."""
    try:
        if (store := open_store()) is None:
            return
        key, probe = f"probe/{uuid.uuid4().hex}", settings.DATA_DIR / f".probe.{uuid.uuid4().hex}"
        began = time.monotonic()
        write_in_one_step(probe, key)
        try:
            store.put(key, probe)
            get_file(store, key, probe, hashlib.sha256(key.encode()).hexdigest())
            found = store.exists(key) and key in store.list("probe")
            store.delete(key)
        finally:
            probe.unlink(missing_ok=True)
        if not found or store.exists(key):
            raise StoreError(f"{store.url}: what was put there is not listed, or not deleted.")
        yield Finding("object store", "ok", f"{store.url} takes and gives back ({time.monotonic() - began:.1f} s).")
    except (StoreError, OSError) as error:
        yield Finding("object store", "failure", f"{error} See STORE_URL.")


def check_store_answers() -> Iterator[Finding]:
    """Reads only, for every probe. A store that is away stops no labeler, so the web server is ready without it."""
    try:
        if (store := open_store(hurried=True)) is not None:
            store.exists("probe/ready")
    except StoreError as error:
        yield Finding("object store", "warning", str(error))


def check_versions() -> Iterator[Finding]:
    """Of Python and of the packages that matter most; asked for by name, so that nothing heavy is imported."""
    python = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] == NEWEST_TRIED_PYTHON:
        yield Finding("Python", "ok", python)
    else:
        yield Finding("Python", "warning", f"{python} was not tried; 3.11 was.")
    for name in PACKAGES:
        try:
            yield Finding(name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name, "failure", "It is not installed. Run `make run`.")


def check_settings() -> Iterator[Finding]:
    """What is dangerous once others can reach the server."""
    if len(settings.SECRET_KEY) < SHORTEST_KEY:
        text = f"It is shorter than {SHORTEST_KEY} characters; leave the variable out to get a good one."
        yield Finding("SECRET_KEY", "failure", text)
    if settings.DEBUG:
        yield Finding(
            "DEBUG", "warning", "It is on: pages of errors show settings and code. Never on a reachable server."
        )
    hosts = set(settings.ALLOWED_HOSTS) - {"127.0.0.1", "localhost", "[::1]"}
    if hosts and not settings.SECURE:
        names = ", ".join(sorted(hosts))
        yield Finding(
            "SECURE", "warning", f"{names} is served without TLS; set SECURE=1 behind a proxy that speaks it."
        )
    if "*" in hosts:
        yield Finding("ALLOWED_HOSTS", "warning", "It takes every host name; name those that lead here.")


def check_broker() -> Iterator[Finding]:
    """Reachable within a few seconds. Without it work waits for the next look at the database, and is not lost."""
    try:
        with app.connection_for_write(transport_options={}) as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, timeout=BROKER_TIMEOUT_S)
            yield Finding("broker", "ok", f"{broker.as_uri()} answers.")
    except Exception as error:  # every transport has errors of its own
        yield Finding("broker", "failure", f"It cannot be reached: {first_line(error)}. See CELERY_BROKER_URL.")


def check_model_roots() -> Iterator[Finding]:
    missing = [str(root) for root in settings.MODEL_ROOTS if not root.is_dir()]
    if missing:
        yield Finding(
            "MODEL_ROOTS", "warning", f"There is no folder {', '.join(missing)}; no models can be added from it."
        )


def check_gpus() -> Iterator[Finding]:
    """As the driver's own tool reports them."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except FileNotFoundError:
        yield Finding("GPU", "ok", "None found (no nvidia-smi): training runs on the CPU.")
    except (OSError, subprocess.SubprocessError) as error:
        yield Finding("GPU", "warning", f"nvidia-smi does not work, so training would run on the CPU: {error}")
    else:
        for line in listed.strip().splitlines():
            yield Finding("GPU", "ok", line.strip())


def first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


READINESS: tuple[Callable[[], Iterator[Finding]], ...] = (check_database, check_data_dir)
"""What no request can do without."""
