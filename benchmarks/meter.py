"""What a stretch of a program costs: CPU and wall seconds, peak memory. Standard library only: peers use it too."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from types import TracebackType

MIB = 1 << 20


@dataclass
class Meter:
    """Adds up the stretches entered with ``with meter:``; stretches of one meter must not overlap."""

    cpu_s: float = 0.0
    """User and system time of this process and all its threads, seconds."""
    system_s: float = 0.0
    """The system's part of ``cpu_s``: mostly memory handed out and taken back."""
    wall_s: float = 0.0

    def __enter__(self) -> Meter:
        self._user, self._system, self._wall = _read_clocks()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        user, system, wall = _read_clocks()
        self.cpu_s += user - self._user + system - self._system
        self.system_s += system - self._system
        self.wall_s += wall - self._wall


def read_peak_mib() -> float:
    """The most memory this process ever held (resident set), MiB.

    Linux's VmHWM rather than ``ru_maxrss``, which a program inherits from the one that started it.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            line = next(line for line in file if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / MIB
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB


def read_resident_mib() -> float:
    """What this process holds now, MiB; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / MIB
    except OSError:
        return 0.0


def _read_clocks() -> tuple[float, float, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime, used.ru_stime, time.monotonic()
