"""The house's Celery app with a counting program in the place of a model import.

celery -A tests.models_registry.chaos_app worker -Q gpu
"""

from __future__ import annotations

import os
from importlib import import_module

import django

django.setup()
for room in ("annotate", "models_registry", "training"):
    import_module(f"{room}.tasks")

from django.db import transaction  # noqa: E402

from config.celery import app  # noqa: E402
from models_registry import leases  # noqa: E402
from models_registry.models import ModelImport  # noqa: E402
from models_registry.supervisor import ProgramJob, Supervisor  # noqa: E402

__all__ = ["app"]


def count_steps(work: ModelImport, supervisor: Supervisor) -> None:
    config = {
        "mode": "count",
        "steps": int(os.environ["CHAOS_STEPS"]),
        "pause": 0.05,
        "trace": str(work.folder.parent / f"trace-{work.pk}.jsonl"),
    }
    job = ProgramJob(
        ["-m", "tests.models_registry.programs"],
        config,
        find_progress=lambda: len(list(work.folder.glob("attempt-*/checkpoints/step-*"))),
    )
    result = supervisor.run(job, work.attempt_folder)
    with transaction.atomic():
        leases.finish(work, message=f"{result['steps']} steps")


leases.register_program(ModelImport, count_steps, slot="chaos")
