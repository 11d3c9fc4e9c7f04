"""Putting models, runs and dataset versions away, and taking them out again. Nothing is deleted by it.

What is put away is hidden from lists and choices; whatever came of it can still be walked to. Only the archive makes a
model's weights free to go, see garbage.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from annotate.models import AuditAction, DatasetVersion
from annotate.services.audit import record
from models_registry.models import ModelEvent, ModelVersion
from models_registry.selectors import list_standing
from training.models import Run

Thing = ModelVersion | Run | DatasetVersion
KINDS: Mapping[str, type[Thing]] = {"models": ModelVersion, "runs": Run, "datasets": DatasetVersion}
"""What can be archived, by the name in the address."""


class ArchiveError(ValueError):
    """It cannot be put away or taken out; the text says why."""


@transaction.atomic
def archive(thing: Thing, *, reason: str, by: User) -> None:
    """Puts it away. Locks its row. Raises ArchiveError."""
    thing = _lock(thing)
    if thing.archived_at:
        raise ArchiveError(_("%(name)s is archived already.") % {"name": thing})
    if obstacle := find_obstacle(thing):
        raise ArchiveError(obstacle)
    _write(thing, archived_at=Now(), archived_by=by, archive_reason=reason)
    _note(thing, AuditAction.ARCHIVED, ModelEvent.Action.ARCHIVED, reason, by)


@transaction.atomic
def restore(thing: Thing, *, by: User) -> None:
    """Takes it out again. Locks its row. Raises ArchiveError."""
    thing = _lock(thing)
    if not thing.archived_at:
        raise ArchiveError(_("%(name)s is not archived.") % {"name": thing})
    _write(thing, archived_at=None, archived_by=None, archive_reason="")
    _note(thing, AuditAction.RESTORED, ModelEvent.Action.RESTORED, "", by)


def find_obstacle(thing: Thing) -> str:
    """Why it cannot be put away now, in words; empty where it can."""
    if isinstance(thing, ModelVersion):
        if aliases := [standing.alias for standing in list_standing().filter(model=thing)]:
            words = _("%(name)s is %(aliases)s. Give the alias to another model or withdraw it first.")
            return words % {"name": thing, "aliases": ", ".join(aliases)}
        under_way = hasattr(thing, "model_import") and not thing.model_import.is_over
    else:
        under_way = not thing.is_over
    return _("%(name)s is still being made. Cancel it or wait for its end.") % {"name": thing} if under_way else ""


def _lock(thing: Thing) -> Thing:
    return type(thing)._default_manager.select_for_update(of=("self",)).get(pk=thing.pk)


def _write(thing: Thing, **values: object) -> None:
    type(thing)._default_manager.filter(pk=thing.pk).update(**values)


def _note(thing: Thing, audited: AuditAction, event: ModelEvent.Action, reason: str, by: User) -> None:
    if isinstance(thing, ModelVersion):
        ModelEvent.objects.create(model=thing, action=event, note=reason, by=by)
        return
    version = thing.dataset_version if isinstance(thing, Run) else thing
    record(audited, project=version.project, by=by, about=thing, after={"reason": reason} if reason else None)
