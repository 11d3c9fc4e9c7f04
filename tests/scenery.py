"""Believable models, dataset versions and runs for tests of pages: rows as services leave them, without the work."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from annotate.models import DatasetVersion, Project
from models_registry.models import ModelImport, ModelKind, ModelSource, ModelVersion, WorkState
from training.engine.config import TrainingConfig
from training.models import Run, RunMetric

FACTS = {
    "architecture": "LlamaForCausalLM",
    "model_type": "llama",
    "kind": "policy",
    "parameters": 134_515_008,
    "context_length": 8192,
    "has_chat_template": True,
    "size_bytes": 269_060_552,
    "dtype": "BF16",
    "vocabulary": 49152,
    "layers": 30,
    "width": 576,
    "inner": 1536,
    "head": 0,
    "adapter_width": 305_280,
    "licence": "apache-2.0",
    "sha256": {"model.safetensors": "5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c"},
    "bytes": 272_602_411,
}


def make_model(by: User, name: str = "SmolLM2-135M-Instruct", *, ready: bool = True, **fields: Any) -> ModelVersion:
    """A base model; ready unless told otherwise."""
    values: dict[str, Any] = {
        "source": ModelSource.DEMO,
        "facts": FACTS if ready else {},
        "licence": "apache-2.0" if ready else "",
    }
    return ModelVersion.objects.create(
        name=name, created_by=by, ready_at=timezone.now() if ready else None, **(values | fields)
    )


def make_import(model: ModelVersion, **fields: Any) -> ModelImport:
    return ModelImport.objects.create(model=model, created_by=model.created_by, **fields)


def make_dataset(project: Project, number: int = 1, **fields: Any) -> DatasetVersion:
    """A frozen version; its files are not there."""
    values: dict[str, Any] = {
        "rule": {},
        "judgment_cutoff": 0,
        "state": WorkState.FINISHED,
        "train_rows": 271,
        "eval_rows": 29,
        "finished_at": timezone.now(),
        "created_by": project.created_by,
    }
    return DatasetVersion.objects.create(project=project, number=number, **(values | fields))


def make_run(
    dataset: DatasetVersion,
    base: ModelVersion,
    method: str = "dpo",
    *,
    config: dict[str, Any] | None = None,
    **fields: Any,
) -> Run:
    """A run in any state: ``make_run(dataset, base, state="running", step=40, total_steps=68)``."""
    now = timezone.now()
    state = fields.get("state", WorkState.QUEUED)
    values: dict[str, Any] = {
        "name": f"{base.name}-{method}-{Run.objects.count() + 1}",
        "config": TrainingConfig.from_dict(method, config or {}).to_dict(),
        "created_by": base.created_by,
    }
    if state != WorkState.QUEUED:
        values |= {"epoch": 1, "started_at": now - timedelta(seconds=412), "total_steps": 68}
    if state not in (WorkState.QUEUED, WorkState.RUNNING):
        values["finished_at"] = now
    run = Run.objects.create(dataset_version=dataset, base_model=base, method=method, **(values | fields))
    Run.objects.filter(pk=run.pk).update(created_at=now - timedelta(seconds=430))
    run.refresh_from_db()
    return run


def finish_run(run: Run, **result: Any) -> ModelVersion:
    """Lets a run end well: its result and its model."""
    kind = ModelKind.REWARD if run.method == "reward" else ModelKind.POLICY
    model = make_model(
        run.created_by,
        run.name,
        source=ModelSource.RUN,
        kind=kind,
        base=run.base_model,
        metrics={"eval": make_result(run)["eval"]},
    )
    run.state, run.model, run.result = WorkState.FINISHED, model, make_result(run) | result
    run.step = run.total_steps = 68
    run.finished_at = timezone.now()
    run.started_at = run.started_at or run.finished_at - timedelta(seconds=412)
    run.save()
    return model


def make_result(run: Run) -> dict[str, Any]:
    return {
        "method": run.method,
        "steps": 68,
        "epochs": 2.0,
        "seconds": 401.23,
        "tokens": 184_220,
        "pairs": 542,
        "device": "cpu",
        "processes": 1,
        "train": {"metrics": {"loss": 0.41, "rewards/accuracies": 0.86, "rewards/margins": 0.93}},
        "eval": {
            "loss": 0.6402,
            "pairs": 29,
            "accuracy": 0.6552,
            "interval": [0.4735, 0.8006],
            "by_grade": {
                "significantly": {"pairs": 12, "accuracy": 0.75, "interval": [0.4677, 0.9111]},
                "slightly": {"pairs": 11, "accuracy": 0.6364, "interval": [0.3538, 0.8483]},
                "negligibly": {"pairs": 6, "accuracy": 0.5, "interval": [0.1876, 0.8124]},
            },
            "length_baseline": {"pairs": 29, "accuracy": 0.6207, "interval": [0.4399, 0.7733]},
            "metrics": {},
        },
        "data": {
            "train": {
                "read": 271,
                "used": 266,
                "truncated": {"any": 14, "prompt": 12, "chosen": 5},
                "dropped": {"identical_when_cut": 3, "prompt_fills_length": 2},
            },
            "eval": {"read": 29, "used": 29, "truncated": {}, "dropped": {}},
        },
        "notes": ["max_length lowered from 16384 to the model's 8192 tokens."],
    }


def make_metrics(run: Run, steps: int = 68, *, every: int = 1, seed: int = 0) -> None:
    """Curves as a run leaves them: noisy at each step, an evaluation every ten."""
    noise = random.Random(seed)
    rows = []
    for step in range(0, steps + 1, every):
        share = step / max(steps, 1)
        margin = 1.1 * (1 - math.exp(-3 * share))
        values: dict[str, Any] = {"epoch": round(2 * share, 4)}
        if step:
            values |= {
                "loss": round(0.69 - 0.27 * share + noise.gauss(0, 0.05), 5),
                "rewards/chosen": round(0.4 * margin + noise.gauss(0, 0.1), 5),
                "rewards/rejected": round(-0.6 * margin + noise.gauss(0, 0.1), 5),
                "rewards/margins": round(margin + noise.gauss(0, 0.12), 5),
                "rewards/accuracies": min(8, max(0, round(8 * (0.5 + 0.36 * share) + noise.gauss(0, 1)))) / 8,
                "learning_rate": 5e-6 * min(1, step / 4) * (0.55 + 0.45 * math.cos(math.pi * share)),
                "grad_norm": round(4 + noise.gauss(0, 0.6), 4),
            }
        if step % 10 == 0 or step == steps:
            values |= {
                "eval_loss": round(0.693 - 0.06 * share, 5),
                "eval_rewards/margins": round(0.4 * margin, 5),
                "eval_rewards/accuracies": round(15 + 4 * share) / 29,
            }
        rows.append(RunMetric(run=run, step=step, values=values))
    RunMetric.objects.bulk_create(rows)
