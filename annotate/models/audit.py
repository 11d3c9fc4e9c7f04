"""Who changed what in a project, as it was done: rows that are only ever added."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from annotate.models.projects import Project


class AuditAction(models.TextChoices):
    """What can be done. Not the field's choices, so that a further action needs no migration."""

    PROJECT_CREATED = "project_created", _("Project made")
    PROJECT_CHANGED = "project_changed", _("Settings changed")
    GUIDELINES_PUBLISHED = "guidelines_published", _("Guidelines changed")
    MEMBER_ADDED = "member_added", _("Member added")
    ROLE_CHANGED = "role_changed", _("Role changed")
    MEMBER_REMOVED = "member_removed", _("Member removed")
    FLAG_RESOLVED = "flag_resolved", _("Flag dealt with")
    PAIR_RELEASED = "pair_released", _("Held pair released")
    PAIR_DROPPED = "pair_dropped", _("Held pair dropped")
    ADJUDICATED = "adjudicated", _("Pair adjudicated")
    GOLD_MADE = "gold_made", _("Gold pair made")
    GOLD_CHANGED = "gold_changed", _("Gold pair changed")
    GOLD_UNMADE = "gold_unmade", _("Gold pair made ordinary again")
    STANDING_DECIDED = "standing_decided", _("Labeler paused or reinstated")
    DATASET_FROZEN = "dataset_frozen", _("Dataset version frozen")
    DATASET_CANCELLED = "dataset_cancelled", _("Dataset version cancelled")
    DATASET_RETRIED = "dataset_retried", _("Dataset version tried again")
    DATASET_REMOVED = "dataset_removed", _("Dataset version removed")
    IMPORT_STARTED = "import_started", _("Import started")
    IMPORT_CANCELLED = "import_cancelled", _("Import cancelled")
    IMPORT_RETRIED = "import_retried", _("Import tried again")
    SAMPLING_STARTED = "sampling_started", _("Sampling started")
    SAMPLING_CANCELLED = "sampling_cancelled", _("Sampling cancelled")
    SAMPLING_RETRIED = "sampling_retried", _("Sampling tried again")
    RUN_LAUNCHED = "run_launched", _("Run launched")
    RUN_CANCELLED = "run_cancelled", _("Run cancelled")
    ARCHIVED = "archived", _("Archived")
    RESTORED = "restored", _("Restored from the archive")
    RUN_PAUSED = "run_paused", _("Run paused")
    RUN_RESUMED = "run_resumed", _("Run resumed")
    RUN_LIMITS_CHANGED = "run_limits_changed", _("Run's limits changed")
    RUN_RETRIED = "run_retried", _("Run tried again")
    RUN_MOVED = "run_moved", _("Priority of a run changed")
    RUN_TAGGED = "run_tagged", _("Tags of a run changed")


@dataclass(frozen=True)
class Change:
    """A value before and after, as text."""

    name: str
    before: str | None
    after: str


def _name_field(kind: str, name: str) -> str:
    """A project's settings by their own names, anything else by its code."""
    if kind == Project._meta.model_name and name in _ON_PAGE:
        return str(_ON_PAGE[name])
    field = _list_settings().get(name) if kind == Project._meta.model_name else None
    return str(capfirst(field.verbose_name if field else name.replace("_", " ")))


def _say(kind: str, name: str, value: Any) -> str | None:
    """In the words of the page: on or off, the labels of choices, lists with commas; else as JSON. None for nothing."""
    if kind == Project._meta.model_name and name == "archived_at":
        value = bool(value)
    if value is None or value in ("", []):
        return None
    if isinstance(value, bool):
        return str(_("on") if value else _("off"))
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    choices = _list_settings().get(name) if kind == Project._meta.model_name else None
    return str(dict(choices.flatchoices).get(value, value)) if choices else value


_ON_PAGE = {"archived_at": _("Archived"), "slug": _("Short name"), "reason_tags": _("Reasons to tick")}
"""A project's settings that its page names otherwise than their fields."""


def _list_settings() -> dict[str, models.Field[Any, Any]]:
    return {field.attname: field for field in Project._meta.concrete_fields}


class AuditEvent(models.Model):
    """One change, written by the service that made it; the database refuses to change the row (see its migration)."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="audit_events")
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text=_("Nobody where a rule of the house did it."),
    )
    action = models.CharField(max_length=30)
    kind = models.CharField(max_length=30, help_text=_("The model's name of what was changed."))
    number = models.BigIntegerField(help_text=_("Its number; what was removed had it."))
    name = models.CharField(max_length=200, help_text=_("What it was called then."))
    before = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    after = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            # A project's log, newest first, by anybody or by one person.
            models.Index(fields=["project", "-id"], name="audit_project"),
            models.Index(fields=["project", "by", "-id"], name="audit_person"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.name}"

    @property
    def changes(self) -> list[Change]:
        """What was noted, value by value; ``before`` is None where nothing stood there."""
        return [
            Change(
                _name_field(self.kind, name),
                _say(self.kind, name, self.before.get(name)),
                _say(self.kind, name, self.after.get(name)) or "–",
            )
            for name in {**self.before, **self.after}
        ]

    @property
    def action_label(self) -> str:
        """In the reader's language; the code itself where a later version has forgotten it."""
        return str(AuditAction(self.action).label) if self.action in AuditAction.values else self.action
