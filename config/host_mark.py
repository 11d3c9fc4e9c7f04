"""Which host a folder belongs to, for what works on one host only: the broker made of files.

Workers keep renewing the mark. Another host is refused while it is fresh, and takes the folder over once it is stale or
dropped: a machine may be replaced, and a container has a new name at each start.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from config.shared_files import hold_lock, write_in_one_step

log = logging.getLogger(__name__)

RENEW_S, STALE_S = 10.0, 60.0


class SecondHostError(Exception):
    """Another host uses this folder; the text says what to do."""


@dataclass(frozen=True)
class Host:
    """``kernel`` is the running kernel's own number: containers of one machine share it, a restart changes it."""

    name: str
    kernel: str

    def is_same(self, other: Host) -> bool:
        return self.kernel == other.kernel or self.name == other.name


def name_this_host() -> Host:
    name = socket.gethostname()
    try:
        return Host(name, Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
    except OSError:
        return Host(name, name)


class HostMark:
    """The mark of ``folder``."""

    def __init__(self, folder: Path, host: Host | None = None) -> None:
        self._path = folder / "host.json"
        self._host = host or name_this_host()
        self._renewed_at = float("-inf")

    def claim(self) -> None:
        """Marks the folder as this host's. Raises SecondHostError where another one's mark is fresh."""
        with hold_lock(self._path.with_suffix(".lock")):
            owner = self._read()
            if owner == self._host:
                os.utime(self._path)
            elif owner is None or owner.is_same(self._host) or self._measure_age() > STALE_S:
                write_in_one_step(self._path, json.dumps(asdict(self._host)))
            else:
                raise SecondHostError(
                    f"The workers of another host, {owner.name}, use the broker of files in {self._path.parent}. It "
                    "serves one host: for several set CELERY_BROKER_URL to Redis or RabbitMQ. If that host is gone, "
                    f"try again in {STALE_S:.0f} seconds."
                )
        self._renewed_at = time.monotonic()

    def renew(self) -> None:
        """Called over and over; claims again from time to time. Raises SecondHostError."""
        if time.monotonic() - self._renewed_at < RENEW_S:
            return
        self._renewed_at = time.monotonic()
        try:
            self.claim()
        except OSError as error:  # a full disk must not end a worker
            log.warning("The mark %s could not be renewed: %s", self._path, error)

    def drop(self) -> None:
        """The workers leave: another host need not wait."""
        if self._read() == self._host:
            self._path.unlink(missing_ok=True)

    def _read(self) -> Host | None:
        try:
            return Host(**json.loads(self._path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):  # none, or half of one
            return None

    def _measure_age(self) -> float:
        """Seconds since the last renewal, by the clock of the file system, which both hosts share."""
        lock = self._path.with_suffix(".lock")
        os.utime(lock)
        return lock.stat().st_mtime - self._path.stat().st_mtime
