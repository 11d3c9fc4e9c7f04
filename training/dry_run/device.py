"""What a run would compute on: the smallest living worker that could take it, or what was asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from models_registry.machines import GB, Ask
from models_registry.workers import SeenWorker
from training.engine.sizes import MEMORY_SHARE
from training.placement import list_run_workers

GPU_SHARE = 0.95
"""Of a GPU's memory that a program can have: the rest is the driver's and lies between the pieces."""


@dataclass(frozen=True)
class Device:
    """``memory`` in bytes, of one GPU or of the machine; 0 where it is not known."""

    kind: str
    """cuda or cpu"""
    name: str = ""
    memory: int = 0
    cores: int = 1
    disk_free: int | None = None
    worker: str = ""
    is_capped: bool = False
    """Whether ``memory`` is what was asked for and the worker has more: the run may come to one that has not."""

    @property
    def usable(self) -> int:
        """Bytes that a run may take; a machine has other programs too."""
        return int(self.memory * (GPU_SHARE if self.kind == "cuda" else MEMORY_SHARE))


def list_devices(ask: Ask) -> list[Device]:
    """Of the living workers that meet the ask, the smallest first."""
    fitting = [describe_device(worker, ask.gpus) for worker in list_run_workers() if worker.machine.meets(ask)]
    return sorted(fitting, key=lambda device: (device.memory, device.worker))


def describe_device(worker: SeenWorker, gpus: int) -> Device:
    """What a run of so many GPUs gets of a worker."""
    machine = worker.machine
    sizes = machine.gpu_sizes_gb
    common = {"name": machine.device_name, "cores": machine.cores or 1, "worker": worker.name}
    disk = machine.disk_free or None
    if not sizes:
        return Device("cpu", memory=machine.memory, disk_free=disk, **common)  # type: ignore[arg-type]
    memory = min(gpu.memory for gpu in machine.gpus[: max(1, gpus)])
    return Device("cuda", memory=memory, disk_free=disk, **common)  # type: ignore[arg-type]


def find_device(ask: Ask) -> Device:
    """The smallest device that the run may come to: of the living workers, and no more memory than was asked for."""
    fitting, asked = list_devices(ask), ask.gpu_memory_gb * GB
    if not fitting:
        return Device("cuda" if ask.gpus else "cpu", memory=asked)
    return replace(fitting[0], memory=asked, is_capped=True) if 0 < asked < fitting[0].memory else fitting[0]


def find_larger(ask: Ask, needed: int) -> Device | None:
    """The smallest device of a living worker that meets the ask and has so many bytes to give."""
    return next((device for device in list_devices(ask) if device.usable >= needed), None)
