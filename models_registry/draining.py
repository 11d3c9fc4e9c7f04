"""A worker that is asked to leave tells its pool processes by a file: they see no signal of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from models_registry.slots import make_locks_folder


def start_draining() -> None:
    """Called in the worker's main process."""
    _flag(os.getpid()).write_text(_read_birth(os.getpid()), encoding="utf-8")


def stop_draining() -> None:
    """The worker has left, or a test is over."""
    _flag(os.getpid()).unlink(missing_ok=True)


def is_draining() -> bool:
    """Asked in a pool process, or in the main process where there is no pool."""
    return any(_is_flagged(process) for process in (os.getppid(), os.getpid()))


def _is_flagged(process: int) -> bool:
    """A flag left by a worker that was killed while it drained must not stop a later process with the same number."""
    try:
        return _flag(process).read_text(encoding="utf-8") == _read_birth(process)
    except FileNotFoundError:
        return False


def _read_birth(process: int) -> str:
    """When the process was started, in ticks since boot; empty where there is no /proc."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    return f"{boot} {stat.rpartition(')')[2].split()[19]}"


def _flag(process: int) -> Path:
    return make_locks_folder() / f"{socket.gethostname()}-{process}.draining"
