"""What is true of a run at its end, whatever happened to it: it ended once, with the weights of an undisturbed run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chaos.traces import Event, count_fenced_steps
from models_registry.models import ModelSource, ModelVersion
from training.models import Run, RunMetric


@dataclass(frozen=True)
class Outcome:
    """All that two runs with the same settings must agree on."""

    weights: str
    """SHA-256 of the registered file."""
    curves: list[tuple[int, dict[str, Any]]]


def read_outcome(run: Run, model: ModelVersion) -> Outcome:
    rows = RunMetric.objects.filter(run=run).order_by("step").values_list("step", "values")
    return Outcome(_digest(model.folder / "model.safetensors"), list(rows))


def audit_run(run: Run, trace: list[Event], undisturbed: Outcome) -> dict[str, bool | int]:
    """``run`` as it is now."""
    models = ModelVersion.objects.filter(source=ModelSource.RUN, name__startswith=f"{run.name} (").count()
    ended = run.state == "finished" and run.model is not None and run.model.name == run.name and not models
    outcome = read_outcome(run, run.model) if ended and run.model else None
    return {
        "ended_once": ended,
        "bit_equal": outcome is not None and outcome.weights == undisturbed.weights,
        "same_curves": outcome is not None and outcome.curves == undisturbed.curves,
        "fenced_steps": count_fenced_steps(trace),
        "attempts": len({event.epoch for event in trace}),
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
