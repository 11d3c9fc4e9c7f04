"""The audit log: services write down there what they change, in the transaction that changes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.auth.models import User
from django.db import models

from annotate.models import AuditAction, AuditEvent, Project

MAX_TEXT = 300
"""Characters of a single value."""

_BATCH = 400


def record(
    action: AuditAction,
    *,
    project: Project,
    by: User | None,
    about: models.Model,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """Notes that ``by`` did this to ``about``. ``before`` and ``after`` hold what changed: small plain values.

    Call it inside the transaction of the change, so that neither is there without the other. ``by`` is None where a
    rule of the house did it.
    """
    event = _build_event(action, project, by, about, before, after)
    event.save(force_insert=True)
    return event


def record_many(
    action: AuditAction, *, project: Project, by: User | None, changes: Iterable[tuple[models.Model, Mapping[str, Any]]]
) -> None:
    """The same of many at once: what each was done to, and ``after``."""
    events = (_build_event(action, project, by, about, None, after) for about, after in changes)
    AuditEvent.objects.bulk_create(events, batch_size=_BATCH)


def record_change(
    action: AuditAction,
    *,
    project: Project,
    by: User | None,
    about: models.Model,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> AuditEvent | None:
    """The same of two whole descriptions: notes only the values that differ, and nothing where none does."""
    changed = [name for name in after if before.get(name) != after[name]]
    if not changed:
        return None
    return record(
        action,
        project=project,
        by=by,
        about=about,
        before={name: before.get(name) for name in changed},
        after={name: after[name] for name in changed},
    )


def _build_event(
    action: AuditAction,
    project: Project,
    by: User | None,
    about: models.Model,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> AuditEvent:
    return AuditEvent(
        project=project,
        by=by,
        action=action,
        kind=about._meta.model_name or "",
        number=about.pk,
        name=str(about)[:200],
        before=_shorten(before),
        after=_shorten(after),
    )


def _shorten(values: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        name: f"{value[:MAX_TEXT]}…" if isinstance(value, str) and len(value) > MAX_TEXT else value
        for name, value in (values or {}).items()
    }
