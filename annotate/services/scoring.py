"""Scoring: a reward model's opinion of responses that are there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext as _

from annotate.models import Project, Response, ResponseScore, ScoringJob
from annotate.services.comparisons import explain_axis
from models_registry import depot, leases
from models_registry.models import LeasedWork, ModelKind, ModelVersion
from models_registry.services import hold_models
from models_registry.supervisor import ProgramJob, Supervisor

_BATCH = 400


class ScoringError(ValueError):
    """A scoring job cannot start; the text says why."""


@transaction.atomic
def start_scoring(*, project: Project, model: ModelVersion, by: User) -> ScoringJob:
    """Queues the scoring of every response of the project that ``model`` has not scored. Raises ScoringError."""
    if project.parent_id:
        raise ScoringError(explain_axis())
    hold_models(model)
    if words := model.explain_unusable():
        raise ScoringError(words)
    if model.kind != ModelKind.REWARD:
        raise ScoringError(_("%(model)s is not a reward model.") % {"model": model})
    if not _list_unscored(project, model).exists():
        raise ScoringError(_("%(model)s has scored every response of this project.") % {"model": model})
    job = ScoringJob.objects.create(project=project, model=model, created_by=by)
    leases.enqueue(job)
    return job


def score_responses(work: ScoringJob, supervisor: Supervisor) -> None:
    """Runs the program and files the scores in one transaction under the lease."""
    rows = [
        {"id": response.pk, "messages": response.prompt.messages, "response": response.text}
        for response in _list_unscored(work.project, work.model).select_related("prompt").iterator(chunk_size=_BATCH)
    ]
    depot.bring_models(work, work.model)
    scores = score_rows(work, supervisor, work.model, rows, folder=work.attempt_folder / "score") if rows else {}
    left_out = len(rows) - len(scores)
    with transaction.atomic():
        leases.finish(work, message=f"{len(scores)} scored" + (f", {left_out} too long for the model" * bool(left_out)))
        # Another job may have scored one of them meanwhile; the newer opinion stands.
        ResponseScore.objects.bulk_create(
            [ResponseScore(response_id=key, model=work.model, score=score) for key, score in scores.items()],
            batch_size=_BATCH,
            update_conflicts=True,
            unique_fields=["response", "model"],
            update_fields=["score"],
        )
    shutil.rmtree(work.folder, ignore_errors=True)


def score_rows(
    work: LeasedWork, supervisor: Supervisor, model: ModelVersion, rows: Iterable[dict[str, Any]], *, folder: Path
) -> dict[Any, float]:
    """Scores by row id; rows are ``{"id", "messages", "response"}``. A row that the model cannot read has no score."""

    def write_inputs(target: Path) -> None:
        write_rows(target / "rows.jsonl", rows)

    config = {"model": str(model.folder), "rows": "rows.jsonl"}
    supervisor.run(ProgramJob(["-m", "models_registry.inference.score"], config, write_inputs=write_inputs), folder)
    with (folder / "scores.jsonl").open(encoding="utf-8") as file:
        return {row["id"]: row["score"] for row in map(json.loads, file) if row.get("score") is not None}


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def _list_unscored(project: Project, model: ModelVersion) -> Any:
    return Response.objects.filter(prompt__project=project).exclude(scores__model=model).order_by("pk")
