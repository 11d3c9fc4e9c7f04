"""What a run would compute on: the smallest living worker that could take it, or what was asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from models_registry.machines import GB
from models_registry.workers import SeenWorker
from training.engine.sizes import MEMORY_SHARE
from training.models import Layout
from training.placing import Placement
from training.workers import list_places, list_run_workers

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


def list_devices(placement: Placement) -> list[Device]:
    """Of the living workers that meet what is asked, one for each set of devices; the smallest first."""
    workers = list_places(worker for worker in list_run_workers() if worker.machine.meets(placement.ask))
    fitting = [describe_device(worker, placement.layout) for worker in workers.values()]
    return sorted(fitting, key=lambda device: (device.memory, device.worker))


def describe_device(worker: SeenWorker, layout: Layout) -> Device:
    """What a run of this layout gets of a worker; on several machines without GPUs asked for, their processors."""
    machine = worker.machine
    common = {"cores": machine.cores or 1, "worker": worker.name, "disk_free": machine.disk_free or None}
    if not machine.gpus or (layout.hosts > 1 and not layout.gpus):
        return Device("cpu", machine.processor, machine.memory, **common)  # type: ignore[arg-type]
    memory = min(gpu.memory for gpu in machine.gpus[: layout.processes_here])
    return Device("cuda", machine.device_name, memory, **common)  # type: ignore[arg-type]


def find_device(placement: Placement) -> Device:
    """The smallest device that the run may come to: of the living workers, and no more memory than was asked for."""
    fitting, asked = list_devices(placement), placement.gpu_memory_gb * GB
    if not fitting:
        return Device("cuda" if placement.gpus else "cpu", memory=asked)
    return replace(fitting[0], memory=asked, is_capped=True) if 0 < asked < fitting[0].memory else fitting[0]


def find_larger(placement: Placement, needed: int) -> Device | None:
    """The smallest device of a living worker that meets what is asked and has so many bytes to give, as all must."""
    enough = [device for device in list_devices(placement) if device.usable >= needed]
    return enough[0] if len(enough) >= placement.hosts else None
