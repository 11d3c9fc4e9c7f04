"""What a program uses while it runs: processors and memory of it and its children, disk of its folder, GPUs.

Read from /proc and from nvidia-smi; what the machine does not tell (no Linux, no GPU) is left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SAMPLE_S = 5.0
_SMI_PATIENCE_S = 3.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """``seconds`` since the last one that was filed; ``disk`` in bytes. The rest is empty between two samples.

    ``values``: cpu (percent of one core), memory (bytes), disk (bytes), gpu (percent), gpu_memory (bytes).
    """

    seconds: float
    disk: int
    values: dict[str, float]


class Meter:
    """Measures one program from its start; ``folder`` is that of all its attempts."""

    def __init__(self, pid: int, folder: Path, now: float) -> None:
        self._pid, self._folder = pid, folder
        self._filed_at = self._sampled_at = now
        self._cpu_before = 0.0
        self._disk = 0

    def read(self, now: float) -> Usage:
        values: dict[str, float] = {}
        elapsed = now - self._sampled_at
        if elapsed >= SAMPLE_S:
            self._disk = measure_folder(self._folder)
            values["disk"] = self._disk
            if (found := measure_processes(self._pid)) is not None:
                cpu, values["memory"] = found
                values["cpu"] = round(max(0.0, 100 * (cpu - self._cpu_before) / elapsed), 1)
                self._cpu_before = cpu
            values |= measure_gpus()
            self._sampled_at = now
        return Usage(now - self._filed_at, self._disk, values)

    def accept(self, now: float) -> None:
        """What was read up to ``now`` is stored."""
        self._filed_at = now


def measure_folder(folder: Path) -> int:
    """Bytes of all files below; those that go while we look count as nothing."""
    total = 0
    for place, _folders, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total


def measure_processes(root: int) -> tuple[float, int] | None:
    """Processor seconds so far and resident bytes of a process and all below it; None where /proc does not tell."""
    stats: dict[int, list[str]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            stats[int(path.parent.name)] = path.read_text(errors="replace").rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
    if root not in stats:
        return None
    children: dict[int, list[int]] = {}
    for pid, fields in stats.items():
        children.setdefault(int(fields[1]), []).append(pid)
    ticks = pages = 0
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        ticks += sum(map(int, stats[pid][11:15]))  # its own and those of children that have ended
        pages += int(stats[pid][21])
    return ticks / _TICKS, pages * _PAGE


def measure_gpus() -> dict[str, float]:
    """Of the devices that this worker's programs see: mean utilisation, memory in use by anybody."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    program = shutil.which("nvidia-smi")
    if program is None or visible in ("", "-1"):
        return {}
    chosen = [f"--id={visible}"] if visible else []
    command = [program, "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", *chosen]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_SMI_PATIENCE_S, check=True)
        rows = [[float(cell) for cell in line.split(",")] for line in answer.stdout.splitlines() if line.strip()]
        return {
            "gpu": round(sum(row[0] for row in rows) / len(rows), 1),
            "gpu_memory": sum(row[1] for row in rows) * 2**20,
        }
    except (OSError, ValueError, IndexError, ZeroDivisionError, subprocess.SubprocessError):
        return {}


def count_memory_kills() -> int:
    """How many programs the kernel has ended on this machine for want of memory; 0 where it does not tell."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
