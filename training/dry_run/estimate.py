"""The whole of it: what a run with these settings would take, whether that fits, and which batch would."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from annotate.models import DatasetVersion
from models_registry.models import ModelVersion
from training.accelerate_config import show_launch
from training.dry_run.device import Device, find_device, find_larger
from training.dry_run.lengths import Lengths, find_lengths
from training.dry_run.memory import Memory, Setup, estimate_memory, propose_batch
from training.dry_run.shape import ModelShape, find_shape
from training.dry_run.timing import START_S, Speed, count_work, find_speed
from training.engine.config import TrainingConfig
from training.engine.sizes import WEIGHT_BYTES, count_steps, measure_checkpoint, measure_least_room
from training.limits import check_limits
from training.placement import explain_wait
from training.placing import USUAL, Placement
from training.services import LaunchErrors, check_launch

LOG_BYTES = 200_000
"""Curves, log, state and manifests."""


@dataclass(frozen=True)
class Disk:
    """Bytes. ``peak`` while the run trains; ``kept`` is the model that stays; ``free`` None where it is not known."""

    checkpoint: int
    checkpoints: int
    """How many lie there at the end."""
    model: int
    peak: int
    needed: int
    """What has to be free for it to begin and to save each time."""
    free: int | None

    @property
    def kept(self) -> int:
        return self.model

    @property
    def fits(self) -> bool:
        return self.free is None or self.needed <= self.free


@dataclass(frozen=True)
class Estimate:
    batch_size: int
    gradient_accumulation: int
    processes: int
    steps: int
    steps_per_epoch: int
    tokens: int
    """Read in all, each sequence with its prompt, as the run will count them."""
    lengths: Lengths
    shape: ModelShape
    device: Device
    memory: Memory
    larger: Device | None
    """A living worker's that is enough, where ``device`` is not."""
    hindrance: str
    """Why no living worker can take it; empty where one can."""
    seconds: float
    reference_seconds: float
    """The part of it before the first step, which an earlier run on the same may have saved."""
    speed: Speed
    disk: Disk
    proposed_batch: int | None
    """The largest that fits; None where none does, or nothing is known to fit into."""
    limit_hours: float | None = None
    limit_gb: float | None = None
    launcher: str = ""
    """accelerate's configuration, where there are several processes."""

    @property
    def effective_batch(self) -> int:
        """Rows of a step."""
        return self.batch_size * self.gradient_accumulation * self.processes

    @property
    def fits_memory(self) -> bool | None:
        """None where no memory is known."""
        return self.memory.total <= self.device.usable if self.device.memory else None

    @property
    def device_hours(self) -> float:
        return self.processes * self.seconds / 3600

    @property
    def proposal(self) -> tuple[int, int] | None:
        """Batch size and passes that are better than those asked for."""
        if self.proposed_batch in (None, self.batch_size):
            return None
        return self.proposed_batch, self.batch_size * self.gradient_accumulation // self.proposed_batch


def estimate_launch(
    *,
    dataset_version: DatasetVersion,
    base_model: ModelVersion,
    method: str,
    values: Mapping[str, Any],
    recipe: str = "",
    placement: Placement = USUAL,
    limit_hours: float | None = None,
    limit_gb: float | None = None,
) -> Estimate:
    """Of a run as ``launch_run`` takes it. Raises LaunchErrors where that could not be launched."""
    config, errors = check_launch(dataset_version, base_model, method, values, recipe)
    limits = {"limit_hours": limit_hours, "limit_gb": limit_gb}
    if errors := errors + placement.list_errors() + check_limits(limits):
        raise LaunchErrors(errors)
    checked = TrainingConfig.from_dict(method, config)
    return estimate_run(dataset_version, base_model, checked, placement, limit_hours=limit_hours, limit_gb=limit_gb)


def estimate_run(
    version: DatasetVersion,
    base: ModelVersion,
    config: TrainingConfig,
    placement: Placement = USUAL,
    *,
    limit_hours: float | None = None,
    limit_gb: float | None = None,
) -> Estimate:
    """Of settings that were checked."""
    shape = find_shape(base)
    lengths = find_lengths(version, base, config, shape.context_length)
    device = find_device(placement)
    setup = Setup(shape, config, lengths, device, placement.layout)
    processes = placement.layout.processes
    per_epoch, steps = count_steps(
        lengths.rows,
        micro_size=config.batch_size * processes,
        accumulation=config.gradient_accumulation,
        epochs=config.epochs,
        max_steps=config.max_steps,
    )
    memory = estimate_memory(setup, config.batch_size)
    rows_seen = lengths.rows * steps / per_epoch
    speed = find_speed(setup)
    work = count_work(setup, rows_seen=rows_seen, steps=steps, recomputes=memory.recomputes)
    fits = memory.total <= device.usable or not device.memory
    return Estimate(
        batch_size=config.batch_size,
        gradient_accumulation=config.gradient_accumulation,
        processes=processes,
        steps=steps,
        steps_per_epoch=per_epoch,
        tokens=round(rows_seen * lengths.row_tokens),
        lengths=lengths,
        shape=shape,
        device=device,
        memory=memory,
        larger=None if fits else find_larger(placement, memory.total),
        hindrance=explain_wait(placement.ask, placement.hosts),
        seconds=START_S + (work.training + work.reference) / speed.flops,
        reference_seconds=work.reference / speed.flops,
        speed=speed,
        disk=estimate_disk(setup, steps, device),
        proposed_batch=propose_batch(setup),
        limit_hours=limit_hours,
        limit_gb=limit_gb,
        launcher=show_launch(placement.layout),
    )


def estimate_disk(setup: Setup, steps: int, device: Device) -> Disk:
    """Checkpoints are removed once the next one is whole, and all of them once the model is registered.

    The engine refuses to save where there is not twice the room of a checkpoint, and to begin where two of them and
    the model would not fit.
    """
    config = setup.config
    method = config.method
    checkpoint = measure_checkpoint(setup.trained)
    saves = -(-steps // config.save_steps) if config.save_steps else 1
    kept = min(config.keep_checkpoints, saves)
    model = WEIGHT_BYTES * setup.shape.count_whole(method) + setup.shape.files
    peak = LOG_BYTES + max(min(saves, kept + 1) * checkpoint, kept * checkpoint + model)
    needed = max(peak, (min(saves - 1, kept) + 2) * checkpoint, measure_least_room(setup.trained, setup.whole))
    free = device.disk_free
    if free is None and not device.worker:
        free = shutil.disk_usage(settings.DATA_DIR).free
    return Disk(checkpoint, kept, model, peak, needed, free)
