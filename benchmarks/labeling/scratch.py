"""A house of its own for each measurement: a data folder, a database and a free port, all gone afterwards."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parents[2]
DATABASES = ("sqlite", "postgresql")
POSTGRESQL = "postgres://postgres@127.0.0.1:5432/postgres"


def run_in_scratch(database: str, postgresql: str, *programs: list[str]) -> list[dict[str, Any]]:
    """Runs modules with arguments one after another in one such house; each one's last line, read as JSON.

    Raises CalledProcessError.
    """
    with make_scratch(database, postgresql) as environment:
        return [_run(program, environment) for program in programs]


def _run(program: list[str], environment: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", *program]
    finished = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return result


@contextmanager
def make_scratch(database: str, postgresql: str) -> Iterator[dict[str, str]]:
    """The environment of a house of its own on a free port."""
    with tempfile.TemporaryDirectory(prefix="plumbline-labeling-") as folder:
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATA_DIR": folder,
            "PORT": str(find_free_port()),
            "OMP_NUM_THREADS": "1",
        }
        environment.pop("DATABASE_URL", None)
        if database == "sqlite":
            yield environment
        else:
            name = f"plumbline_labeling_{os.getpid()}"
            execute(postgresql, "CREATE DATABASE {}", name)
            try:
                yield environment | {"DATABASE_URL": urlsplit(postgresql)._replace(path=f"/{name}").geturl()}
            finally:
                execute(postgresql, "DROP DATABASE {} WITH (FORCE)", name)


def execute(server: str, statement: str, name: str) -> None:
    with psycopg.connect(server.replace("postgres://", "postgresql://", 1), autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
