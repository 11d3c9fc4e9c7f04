"""The whole house as ``make run`` starts it, in a folder and a database of its own, for tests to use and to kill."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class House:
    """A running ``manage.py serve``; ``passwords`` are the ones it printed."""

    url: str
    data_dir: Path
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    passwords: dict[str, str] = field(default_factory=dict)

    def wait_until_up(self, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not any("Ctrl-C ends everything" in line for line in self.lines):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the house did not come up:\n" + "\n".join(self.lines[-60:]))
            time.sleep(0.1)
        for line in self.lines:
            if found := re.search(r"(?:labeler|admin)\s+(\S+)\s+password (\S+)", line):
                self.passwords[found[1]] = found[2]

    def find_pids(self, *words: str) -> list[int]:
        """The processes below this house whose command line holds all the words, oldest first."""
        found = []
        for pid in _descendants(self.process.pid):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if all(word in command for word in words):
                found.append(pid)
        return sorted(found)

    def stop(self) -> int:
        """Ctrl-C, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@contextmanager
def open_house(data_dir: Path, **environment: str) -> Iterator[House]:
    """Starts the house on a free port and ends it, whatever happens in between."""
    port = find_free_port()
    with scratch_database() as database:
        env = {
            **os.environ,
            "DATA_DIR": str(data_dir),
            "PORT": str(port),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
        }
        env |= database | environment
        process = subprocess.Popen(
            [sys.executable, "manage.py", "serve"],
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        house = House(f"http://127.0.0.1:{port}", data_dir, process)
        threading.Thread(target=_collect, args=(house,), daemon=True).start()
        try:
            house.wait_until_up()
            yield house
        finally:
            house.stop()


@contextmanager
def scratch_database() -> Iterator[dict[str, str]]:
    """On PostgreSQL a database that is dropped afterwards, on Redis a numbered one; on SQLite the folder is enough."""
    url = os.environ.get("DATABASE_URL", "")
    broker = os.environ.get("CELERY_BROKER_URL", "")
    env = {"CELERY_BROKER_URL": re.sub(r"/\d+$", f"/{10 + os.getpid() % 5}", broker)} if broker else {}
    if not url.startswith("postgres"):
        yield env
        return
    name = f"plumbline_house_{os.getpid()}_{time.monotonic_ns() % 10**6}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            yield {**env, "DATABASE_URL": urlsplit(url)._replace(path=f"/{name}").geturl()}
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _collect(house: House) -> None:
    assert house.process.stdout is not None
    for line in house.process.stdout:
        house.lines.append(line.rstrip())


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def read_jsonl(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
