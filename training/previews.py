"""Token previews: asking for one, working it, finding it again, and clearing old ones away.

A preview is a run's configuration given to another program (training/engine/preview), so it takes a worker. The same
settings on the same data give the same preview, which is then made once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from annotate.models import DatasetVersion
from models_registry import leases
from models_registry.models import ModelVersion, WorkState
from models_registry.services import hold_models, remove_folder
from models_registry.supervisor import ProgramJob, Supervisor
from training.models import TokenPreview
from training.services import LaunchErrors, bring_inputs, check_launch

KEPT = 50
EXAMPLES = 10
FORMAT = 1
"""Raised when the engine's previews say something new: older ones are then not handed out again."""


@transaction.atomic
def request_preview(
    *,
    dataset_version: DatasetVersion,
    base_model: ModelVersion,
    method: str,
    values: Mapping[str, Any],
    recipe: str = "",
    by: User,
) -> TokenPreview:
    """The preview of these settings, which are taken as for a run: the one that is there or on its way, or a new one.

    Raises LaunchErrors.
    """
    hold_models(base_model)
    config, errors = check_launch(dataset_version, base_model, method, values, recipe)
    if errors:
        raise LaunchErrors(errors)
    key = _make_key(dataset_version, base_model, method, config)
    sound = [WorkState.QUEUED, WorkState.RUNNING, WorkState.FINISHED]
    if known := TokenPreview.objects.filter(key=key, state__in=sound).order_by("-pk").first():
        return known
    preview = TokenPreview.objects.create(
        method=method,
        base_model=base_model,
        dataset_version=dataset_version,
        config=config,
        key=key,
        created_by=by,
    )
    leases.enqueue(preview)
    return preview


def preview_tokens(work: TokenPreview, supervisor: Supervisor) -> None:
    """Runs the program and files what it found, under the lease."""
    bring_inputs(work, work)
    config = describe_job(work.dataset_version, work.base_model, work.method, work.config) | {"examples": EXAMPLES}
    job = ProgramJob(["-m", "training.engine.preview", "--result"], config)
    result = supervisor.run(job, work.attempt_folder)
    leases.finish(work, result=result, message="")
    remove_folder(work.folder)
    sweep_previews()


def describe_job(version: DatasetVersion, base: ModelVersion, method: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """``config.json`` of the program; see training/engine/spec.py."""
    return {
        "method": method,
        "model": str(base.folder),
        "train_file": str(version.train_path),
        "train_sha256": version.train_sha256,
        "eval_file": str(version.eval_path) if version.eval_rows else None,
        "values": dict(config),
    }


def sweep_previews() -> None:
    """Removes all but the newest few; one that is waited for stays."""
    kept = list(TokenPreview.objects.order_by("-pk").values_list("pk", flat=True)[:KEPT])
    over = [WorkState.FINISHED, WorkState.FAILED, WorkState.CANCELLED]
    for preview in TokenPreview.objects.filter(state__in=over).exclude(pk__in=kept).only("pk"):
        TokenPreview.objects.filter(pk=preview.pk).delete()
        remove_folder(preview.folder)


def list_previews() -> QuerySet[TokenPreview]:
    """All previews, newest first."""
    previews = TokenPreview.objects.select_related("base_model", "dataset_version__project", "created_by")
    return previews.defer("log_tail")


def _make_key(version: DatasetVersion, base: ModelVersion, method: str, config: Mapping[str, Any]) -> str:
    """Dataset versions and models never change once they are finished, so their numbers stand for their content."""
    parts = [FORMAT, EXAMPLES, version.pk, base.pk, method, dict(config)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
