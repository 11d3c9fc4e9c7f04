"""One program at a time on one device: a lock file that the program itself holds open.

The worker takes the slot before it claims a row and hands the open file to the program it starts. So the slot is free
when the program is gone, however it went, and not before: a worker that is stopped or killed frees no GPU.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
from pathlib import Path

from django.conf import settings


def name_device_slot() -> str:
    """Workers that see the same devices share a slot; give each worker its own CUDA_VISIBLE_DEVICES to run several."""
    return "device-" + os.environ.get("CUDA_VISIBLE_DEVICES", "all")


def name_place() -> str:
    """The same for workers that cannot work on their devices at once, another one for all others."""
    locks = os.stat(make_locks_folder())
    return f"{socket.gethostname()}:{locks.st_dev}:{locks.st_ino}:{name_device_slot()}"


class Slot:
    """A place on this machine; the empty name stands for work that needs none."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.descriptor: int | None = None

    def take(self) -> bool:
        """True when it is ours now (or was); False when somebody else's program has it."""
        if not self.name or self.descriptor is not None:
            return True
        path = make_locks_folder() / (re.sub(r"[^\w.-]", "_", f"{socket.gethostname()}-{self.name}") + ".lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self.descriptor = descriptor
        return True

    def drop(self) -> None:
        """Closes our end; a program that was handed the slot keeps it."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def make_locks_folder() -> Path:
    folder = Path(settings.DATA_DIR) / "locks"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
