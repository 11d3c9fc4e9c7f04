"""PostgreSQL, Redis and RabbitMQ of our own on free ports, to be killed and started again; nobody else's is touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import redis
from kombu import Connection

from benchmarks.labeling.scratch import find_free_port

START_S = 90.0
_RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"


@dataclass
class Server:
    """A program that is ready when ``probe`` raises nothing."""

    argv: list[str]
    log: Path
    probe: Callable[[], object]
    env: dict[str, str] = field(default_factory=dict)
    user: str | None = None
    url: str = ""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.argv,
                env=os.environ | self.env,
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                user=self.user,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.probe()
                return
            except Exception as error:  # each library has its own; not up yet
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError(f"{self.argv[0]} did not start; see {self.log}") from error
                time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL for it and all below it."""
        if self.process:
            family = [self.process.pid, *list_descendants(self.process.pid)]
            for pid in family:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            while any(is_running(pid) for pid in family):
                time.sleep(0.01)


def make_postgresql(folder: Path) -> Server:
    folder.mkdir()
    binaries = find_postgresql()
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    data, port = folder / "data", find_free_port()
    command = [f"{binaries}/initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL)
    url = f"postgres://postgres@127.0.0.1:{port}/postgres"
    argv = [f"{binaries}/postgres", "-D", str(data), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1"]

    def probe() -> None:
        psycopg.connect(url.replace("postgres://", "postgresql://", 1), connect_timeout=2).close()

    return Server(argv, folder / "log", probe, user=user, url=url)


def find_postgresql() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise SystemExit("make chaos starts a PostgreSQL of its own: install Debian's package postgresql.")
    return found[-1].parent


def make_redis(folder: Path) -> Server:
    folder.mkdir()
    if not shutil.which("redis-server"):
        raise SystemExit("make chaos starts a Redis of its own: install Debian's package redis-server.")
    port = find_free_port()
    argv = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes"]
    probe = redis.Redis(port=port, socket_timeout=2).ping
    return Server(argv, folder / "log", probe, url=f"redis://127.0.0.1:{port}/0")


def make_rabbitmq(folder: Path) -> Server:
    folder.mkdir()
    if not Path(_RABBITMQ).exists():
        raise SystemExit("make chaos starts a RabbitMQ of its own: install Debian's package rabbitmq-server.")
    port = find_free_port()
    url = f"amqp://guest:guest@127.0.0.1:{port}//"
    env = {
        "HOME": str(folder),  # Erlang's cookie
        "RABBITMQ_NODENAME": f"chaos{os.getpid()}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(find_free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
    }
    (folder / "plugins").write_text("[].\n", encoding="utf-8")

    def probe() -> None:
        with Connection(url, connect_timeout=2) as connection:
            connection.connect()

    return Server([_RABBITMQ], folder / "log", probe, env=env, url=url)


def list_descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for process, fields in _read_stats():
        children.setdefault(int(fields[1]), []).append(process)
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def is_running(pid: int) -> bool:
    try:
        return _split(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace"))[0] not in "ZX"
    except OSError:
        return False


def _read_stats() -> Iterator[tuple[int, list[str]]]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            yield int(path.parent.name), _split(path.read_text(encoding="utf-8", errors="replace"))


def _split(stat: str) -> list[str]:
    """State, parent and so on: what stands behind the name, which may hold anything."""
    return stat.rpartition(")")[2].split()
