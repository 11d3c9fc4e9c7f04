"""How long a run would take: its arithmetic, and how fast such arithmetic was done before."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from models_registry.models import WorkState
from training.dry_run.device import Device
from training.dry_run.lengths import LIMIT, Lengths
from training.dry_run.memory import Setup
from training.dry_run.shape import find_shape
from training.engine.config import ConfigErrors, TrainingConfig
from training.models import Run

RUNS_LOOKED_AT = 50
START_S = 12.0
"""Libraries, model and data: what a run takes beside its steps."""
UTILISATION = 0.2
"""Share of a GPU's peak that is reached where nothing was measured: padding-free training reached 19 to 22 % (Open
Instruct, pull request 1466)."""
CORE_FLOPS = {"fp32": 60e9, "bf16": 100e9}
"""Operations a second of one processor core, round figures of what was measured (benchmarks/README.md)."""
_GPU_FLOPS = {
    "H200": (989e12, 67e12),
    "H100": (989e12, 67e12),
    "A100": (312e12, 19.5e12),
    "L40S": (362e12, 91.6e12),
    "RTX 4090": (165e12, 82.6e12),
    "A10": (125e12, 31e12),
    "V100": (125e12, 15.7e12),
    "L4": (121e12, 30e12),
    "T4": (65e12, 8.1e12),
}
"""Peak operations a second in 16 bit (without sparsity) and fp32, by the makers' data sheets."""
_OTHER_GPU = (100e12, 20e12)


@dataclass(frozen=True)
class Speed:
    """``flops`` operations a second: measured in ``run``, or stated."""

    flops: float
    run: Run | None = None
    tokens_per_second: float = 0.0
    """Of that run."""
    is_same_hardware: bool = False


@dataclass(frozen=True)
class Work:
    """Operations of the parts of a run."""

    training: float
    """The steps and the evaluations: what a run counts as its seconds."""
    reference: float
    """The pass over all rows before the first step, unless an earlier run left its numbers."""


def count_work(setup: Setup, *, rows_seen: float, steps: int, recomputes: bool) -> Work:
    """A forward pass over T positions takes 2·N·T operations, N without embeddings, and 4·l·h·s·T for attention within
    sequences of s; a training step three times that, which is the C = 6·N·D of Kaplan et al. (arXiv 2001.08361,
    section 2.1); with LoRA two times, as no gradients of weights are computed; once more where activations are
    computed twice. The head takes 2·V·h for each position that the loss reads.
    """
    config, lengths = setup.config, setup.lengths
    row = _count_forward(setup)
    evaluations = 1 + 1 + (max(0, steps - 1) // config.eval_steps if config.eval_steps else 0)
    passes = 3 - bool(config.lora_r) + recomputes + (config.method == "kto")
    once = row * (lengths.rows + lengths.eval_rows) * (2 if config.method == "kto" else 1)
    return Work(
        training=row * (passes * rows_seen + (evaluations * lengths.eval_rows)),
        reference=once if config.method in ("dpo", "ipo", "kto") else 0.0,
    )


def _count_forward(setup: Setup) -> float:
    """Operations of a forward pass over one mean row."""
    shape, lengths, config = setup.shape, setup.lengths, setup.config
    rejected = 0.0 if config.method == "sft" else lengths.rejected
    repeats = 2 if rejected and config.layout == "plain" else 1
    positions = repeats * lengths.prompt + lengths.chosen + rejected
    sequence = lengths.prompt + max(lengths.chosen, rejected)
    body = 2 * shape.body + 4 * shape.layers * shape.width * sequence
    head = 2 * (shape.head or shape.embedding) * setup.reply_share
    return positions * (body + head)


def find_speed(setup: Setup) -> Speed:
    """From the newest finished runs."""
    runs = Run.objects.filter(state=WorkState.FINISHED).select_related("base_model")
    return choose_speed(runs.defer("log_tail").order_by("-pk")[:RUNS_LOOKED_AT], setup)


def choose_speed(runs: Iterable[Run], setup: Setup) -> Speed:
    """Of the run that is most like this one, of those on this kind of device; else the stated one.

    Most like: on the same hardware, as many processes, LoRA or not, the next parameters, the same method, the newest. A
    run's operations are counted as this one's are, on its own count of tokens, so that what the formula misses is
    missing in both.
    """
    processes = setup.layout.processes
    best: tuple[tuple[Any, ...], Speed] | None = None
    for run in runs:
        if not str(run.result.get("device", "")).startswith(setup.device.kind):
            continue
        try:
            speed = _measure_speed(run, setup)
        except (ConfigErrors, KeyError, TypeError, ValueError, ZeroDivisionError):  # the result of an older version
            continue
        distance = abs(math.log(find_shape(run.base_model).parameters / setup.shape.parameters))
        place = (
            not speed.is_same_hardware,
            run.result.get("processes", 1) != processes,
            bool(run.config.get("lora_r")) != bool(setup.config.lora_r),
            round(distance, 2),
            run.method != setup.config.method,
            -run.pk,
        )
        if best is None or place < best[0]:
            best = place, speed
    return best[1] if best else Speed(state_flops(setup.device, bf16=setup.is_bf16) * processes)


def _measure_speed(run: Run, setup: Setup) -> Speed:
    """Raises what a result lacks."""
    result = run.result
    settings = dict(result.get("settings") or run.config)
    config = TrainingConfig.from_dict(run.method, settings)
    used = {name: int((result["data"].get(name) or {}).get("used", 0)) for name in ("train", "eval")}
    mean = result["tokens"] / result["pairs"]
    share = mean / setup.lengths.row_tokens if setup.lengths.source != LIMIT else 0.0
    if share:  # prompts and replies as long beside each other as here
        parts = {name: share * getattr(setup.lengths, name) for name in ("prompt", "chosen", "rejected")}
    else:
        parts = {"prompt": mean / 4, "chosen": mean / 4, "rejected": mean / 4}
    lengths = Lengths("", used["train"], used["eval"], **parts, longest=0, largest=0)
    device = replace(setup.device, memory=0)
    measured = replace(setup, shape=find_shape(run.base_model), config=config, lengths=lengths, device=device)
    recomputes = any("gradient checkpointing" in note for note in result.get("notes", ()))
    recomputes = recomputes or config.gradient_checkpointing == "on"
    work = count_work(measured, rows_seen=result["pairs"], steps=int(result["steps"]), recomputes=recomputes)
    hardware = result.get("hardware")
    return Speed(
        flops=work.training / result["seconds"] * setup.layout.processes / max(1, int(result.get("processes") or 1)),
        run=run,
        tokens_per_second=result["tokens"] / result["seconds"],
        is_same_hardware=bool(hardware) and hardware == setup.device.name,
    )


def state_flops(device: Device, *, bf16: bool) -> float:
    """Operations a second of one device, by its name."""
    if device.kind == "cpu":
        return CORE_FLOPS["bf16" if bf16 else "fp32"] * device.cores
    peaks = next((peaks for name, peaks in _GPU_FLOPS.items() if name in device.name), _OTHER_GPU)
    return UTILISATION * peaks[0 if bf16 else 1]
