"""What the machine of a worker has, and what work may ask of it.

Asked of the system and of the packages' own records: importing torch would cost the worker half a gigabyte.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from itertools import accumulate
from pathlib import Path
from typing import Any

from django.conf import settings

from models_registry.slots import name_place

PACKAGES = ("torch", "transformers", "accelerate")
GB = 10**9
"""As cards are sold: one of "80 GB" has 79.6 GiB or more, and is meant by who asks for 80."""

_QUERY = ["nvidia-smi", "--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits"]
_MIG = re.compile(r"MIG (\S*?(\d+)gb\S*)\s.*UUID: (MIG-[^)\s]+)")
_TIMEOUT_S = 20


@dataclass(frozen=True)
class Gpu:
    name: str
    memory: int
    """bytes"""


@dataclass(frozen=True)
class Ask:
    """What work needs; ``label`` is one that the worker must have."""

    gpus: int = 0
    gpu_memory_gb: int = 0
    label: str = ""


@dataclass(frozen=True)
class Machine:
    """One worker's share of a machine; sizes in bytes. Empty where a worker has not said."""

    gpus: tuple[Gpu, ...] = ()
    """In the order in which programs take them."""
    labels: tuple[str, ...] = ()
    processor: str = ""
    cores: int = 0
    memory: int = 0
    disk_free: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    place: str = ""
    """Workers of the same place share their devices; see slots.py."""

    @property
    def gpu_sizes_gb(self) -> list[int]:
        """At place i what the smallest of the first i + 1 GPUs has: a run of so many takes the first ones."""
        return list(accumulate((gpu.memory // GB for gpu in self.gpus), min))

    @property
    def device_name(self) -> str:
        """Of what its programs compute on."""
        return self.gpus[0].name if self.gpus else self.processor

    def meets(self, ask: Ask) -> bool:
        sizes = self.gpu_sizes_gb
        if ask.gpus > len(sizes) or (ask.gpus and sizes[ask.gpus - 1] < ask.gpu_memory_gb):
            return False
        return not ask.label or ask.label in self.labels

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Machine:
        """What ``to_dict`` gave, of whatever version: what it lacks is empty, what is unknown here is left out."""
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        gpus = tuple(Gpu(str(gpu["name"]), int(gpu["memory"])) for gpu in known.get("gpus", ()))
        return cls(**known | {"gpus": gpus, "labels": tuple(known.get("labels", ()))})


UNKNOWN = Machine()


@cache
def describe_machine() -> Machine:
    """This process's own; looked at once."""
    return Machine(
        gpus=list_gpus(),
        labels=tuple(settings.WORKER_LABELS),
        processor=_name_processor(),
        cores=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        memory=measure_memory(),
        disk_free=shutil.disk_usage(settings.DATA_DIR).free,
        versions={"plumbline": read_version(), "python": platform.python_version(), **_list_versions()},
        place=name_place(),
    )


def list_gpus() -> tuple[Gpu, ...]:
    """Those that programs of this process see, by the driver's own tool; parts of a card (MIG) count as GPUs."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible in ("", "-1"):
        return ()
    if visible and "MIG-" in visible:
        parts = {
            uuid: Gpu(f"MIG {name}", int(size) * GB) for name, size, uuid in _MIG.findall(_ask(["nvidia-smi", "-L"]))
        }
        return tuple(parts[entry] for entry in visible.split(",") if entry in parts)
    rows = [[cell.strip() for cell in line.split(",")] for line in _ask(_QUERY).splitlines()]
    gpus = [(row[0], row[1], Gpu(row[2], int(row[3]) * 2**20)) for row in rows if len(row) == 4 and row[3].isdigit()]
    if visible is None:
        return tuple(gpu for _index, _uuid, gpu in gpus)
    chosen = []
    for entry in visible.split(","):  # CUDA takes a number or the beginning of a UUID, and stops at what is neither
        found = [
            gpu for index, uuid, gpu in gpus if entry == index or (entry.startswith("GPU-") and uuid.startswith(entry))
        ]
        if not found:
            break
        chosen.append(found[0])
    return tuple(chosen)


def measure_memory() -> int:
    """Bytes of the machine, or of the control group (version 2) that this process is held in; 0 where neither says."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return 0
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no control group, or "max"
        return total


@cache
def read_version() -> str:
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def _list_versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _name_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.machine()


def _ask(command: list[str]) -> str:
    """What the tool prints; nothing where it is not there or does not work, as then no program can use a GPU."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
