"""Pushing a model to the shelf of models_registry/hub.py: asked for on its page, done by a worker."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from models_registry import depot, hub, leases
from models_registry.inference.model_files import link_or_copy, select_model_files
from models_registry.models import ModelVersion, WorkState
from models_registry.services import hold_models, remove_folder
from models_registry.store import put_folder
from training.hub_card import write_hub_card
from training.models import ModelPush

CARD = "README.md"


class PushError(ValueError):
    """A model cannot be pushed; the text says why."""


@transaction.atomic
def request_push(*, model: ModelVersion, by: User) -> ModelPush:
    """The push that is under way, or a new one. Raises PushError."""
    hold_models(model)
    if reason := model.explain_unusable():
        raise PushError(reason)
    under_way = ModelPush.objects.filter(model=model, state__in=[WorkState.QUEUED, WorkState.RUNNING]).first()
    if under_way:
        return under_way
    push = ModelPush.objects.create(model=model, created_by=by)
    leases.enqueue(push)
    return push


def list_pushes(model: ModelVersion) -> QuerySet[ModelPush]:
    """The newest few."""
    return ModelPush.objects.filter(model=model).select_related("created_by").defer("log_tail")[:5]


def push_model(work: ModelPush, still_mine: Callable[[], None]) -> None:
    """Lays the files and a card of their own out, and puts them on the shelf, over what was there of this model."""
    model, folder = work.model, work.attempt_folder
    source = depot.insist(work, partial(depot.fetch_model, model, still_mine), still_mine)
    if not source.is_dir():
        raise leases.WorkFailed("no_model", f"There is no model folder at {source}.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    for name in select_model_files(path.name for path in source.iterdir() if path.is_file()):
        if name != CARD:
            link_or_copy(source / name, folder / name)
    (folder / CARD).write_text(write_hub_card(model, source), encoding="utf-8")
    store, prefix = hub.open_hub()
    key = prefix + hub.name_folder(model)
    digest, files = depot.insist(work, partial(put_folder, store, key, folder, between=still_mine), still_mine)
    leases.finish(work, result={"url": f"{store.url}/{key}", "sha256": digest, "files": files}, message="")
    remove_folder(work.folder)
