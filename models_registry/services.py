"""Bringing base models in, and giving trained ones their place."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from models_registry import depot, hub, leases
from models_registry.inference.program import ProgramError
from models_registry.models import ModelImport, ModelKind, ModelSource, ModelVersion
from models_registry.store import StoreError
from models_registry.supervisor import ProgramJob, Supervisor

DEMO_MODEL_NAME = "SmolLM2-135M-Instruct"

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_HUB_ID = re.compile(rf"{_PART}/{_PART}")
_MOST_NAMED = 20
_WEIGHTS = "*.safetensors"


class RegisterError(ValueError):
    """A model cannot be registered; ``field`` names what to change (source, ref or name)."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True)
class LocalModelFolder:
    """A folder below MODEL_ROOTS that may be registered; ``ref`` is what a form sends back."""

    ref: str
    path: Path


def list_local_folders() -> list[LocalModelFolder]:
    """The folders with safetensors weights directly below MODEL_ROOTS: the only ones that a request can name."""
    found = []
    for number, root in enumerate(settings.MODEL_ROOTS):
        try:
            folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        except OSError:  # it is not there, or not for the eyes of whoever runs the house
            continue
        found += [LocalModelFolder(f"{number}/{path.name}", path) for path in folders if any(path.glob(_WEIGHTS))]
    return found


@transaction.atomic
def register_model(*, source: str, ref: str, name: str, by: User) -> ModelVersion:
    """Makes the registry's row and sends a worker for the files; the model is ready when they are checked.

    ``ref``: for ``hub`` an id such as organisation/model, for ``folder`` a ref of list_local_folders(), for ``pull`` a
    name of hub.list_pushed(), for ``demo`` nothing. Raises RegisterError.
    """
    if source not in (ModelSource.DEMO, ModelSource.FOLDER, ModelSource.HUB, ModelSource.PULL):
        raise RegisterError("source", _("%(source)s is no source of base models.") % {"source": repr(source)})
    if source == ModelSource.HUB and (not _HUB_ID.fullmatch(ref) or ".." in ref or "--" in ref):
        raise RegisterError("ref", _("%(id)s is not a hub id such as organisation/model.") % {"id": repr(ref)})
    if source == ModelSource.FOLDER:
        _require_listed(ref, [folder.ref for folder in list_local_folders()])
    if source == ModelSource.PULL:
        _require_listed(ref, _list_pushed())
    name = " ".join(name.split()) or ref.rpartition("/")[2] or DEMO_MODEL_NAME
    if len(name) > 100:
        raise RegisterError("name", _("The name has %(count)d characters; at most 100.") % {"count": len(name)})
    if not name.isprintable():
        raise RegisterError("name", _("The name contains characters that cannot be shown."))
    if ModelVersion.objects.filter(name=name).exists():
        raise _make_taken_error(name)
    try:
        with transaction.atomic():
            model = ModelVersion.objects.create(name=name, source=source, source_ref=ref, created_by=by)
    except IntegrityError as error:
        raise _make_taken_error(name) from error
    leases.enqueue(ModelImport.objects.create(model=model, created_by=by))
    return model


@transaction.atomic
def add_demo_model(*, by: User) -> ModelVersion:
    """The demo's base model: the one that is there, or a new one on its way."""
    present = ModelVersion.objects.filter(source=ModelSource.DEMO).order_by("pk").first()
    return present or register_model(source=ModelSource.DEMO, ref="", name=DEMO_MODEL_NAME, by=by)


def cancel_import(*, model_import: ModelImport) -> None:
    """Raises leases.CannotCancel when it is over."""
    leases.request_cancel(model_import)


@transaction.atomic
def retry_import(*, model_import: ModelImport) -> None:
    """Raises leases.CannotRetry unless it failed or was cancelled, and where its model is archived."""
    hold_models(model_import.model)
    if model_import.model.archived_at:
        raise leases.CannotRetry(model_import.model.explain_unusable())
    leases.retry(model_import)


def prepare_model(work: ModelImport, supervisor: Supervisor) -> None:
    """Fetches, converts and checks in a program; then moves the folder to its place, under the lease."""
    model = work.model
    config = {"source": model.source}
    if model.source == ModelSource.HUB:
        config["ref"] = model.source_ref
    if model.source == ModelSource.FOLDER:
        config["ref"] = _find_local_folder(model.source_ref)
    origin = {}
    if model.source == ModelSource.PULL:
        pulled = work.folder / f"pulled-{work.epoch}"
        with leases.keep_alive(work) as still_mine:
            pull = partial(hub.pull_folder, model.source_ref, pulled, still_mine)
            try:
                origin = {"source": model.source, "origin": depot.insist(work, pull, still_mine)}
            except ProgramError as error:
                raise leases.WorkFailed(error.code, str(error)) from error
        config = {"source": ModelSource.FOLDER, "ref": str(pulled)}
    online = model.source in (ModelSource.DEMO, ModelSource.HUB)
    job = ProgramJob(["-m", "models_registry.inference.prepare"], config, online=online)
    facts = supervisor.run(job, work.attempt_folder) | origin
    with leases.keep_alive(work) as still_mine:
        facts |= depot.deposit(work, "model", work.attempt_folder / "model", still_mine)
    with transaction.atomic():
        leases.finish(work, message="")
        place_model(model, work.attempt_folder / "model", facts)
    remove_folder(work.folder)


def place_model(model: ModelVersion, source: Path, facts: dict[str, Any]) -> None:
    """Moves ``source`` to the model's folder by one rename and marks it ready; called under a lease."""
    if model.folder.exists():  # moved by an attempt whose transaction did not hold
        shutil.rmtree(model.folder)
    model.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source.rename(model.folder)
    kind = facts.get("kind")
    ModelVersion.objects.filter(pk=model.pk).update(
        kind=kind if kind in ModelKind.values else model.kind,
        licence=str(facts.get("licence") or model.licence)[:100],
        facts=facts,
        ready_at=Now(),
    )


def hold_models(*models: ModelVersion | None) -> None:
    """Locks the rows of models that something is about to need, in the order of their numbers, and reads them anew.

    Whoever takes weights away locks the same rows first: it sees what was begun with them, or we see that they went.
    """
    wanted = {model.pk: model for model in models if model}
    rows = ModelVersion.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk")
    for row in rows:
        for field in ("ready_at", "archived_at", "weights_removed_at"):
            setattr(wanted[row.pk], field, getattr(row, field))


def find_free_name(name: str) -> str:
    """``name``, or ``name (2)`` and so on when models have it already."""
    taken = set(ModelVersion.objects.filter(name__startswith=name[:90]).values_list("name", flat=True))
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name[:90]} ({number})"
    return free


def remove_folder(folder: Path) -> None:
    """Frees the disk; what cannot be removed now does no harm."""
    shutil.rmtree(folder, ignore_errors=True)


def _list_pushed() -> list[str]:
    try:
        return hub.list_pushed()
    except StoreError as error:
        raise RegisterError("ref", str(error)) from error


def _require_listed(ref: str, refs: list[str]) -> None:
    if ref not in refs:
        known = ", ".join(refs[:_MOST_NAMED]) or "-"
        words = {"folder": repr(ref[:100]), "known": known}
        raise RegisterError("ref", _("%(folder)s is none of the listed folders: %(known)s.") % words)


def _make_taken_error(name: str) -> RegisterError:
    return RegisterError("name", _("There is a model named %(name)s already.") % {"name": repr(name)})


def _find_local_folder(ref: str) -> str:
    for folder in list_local_folders():
        if folder.ref == ref:
            return str(folder.path)
    raise leases.WorkFailed("not_found", f"The folder {ref} is not there any more.")
