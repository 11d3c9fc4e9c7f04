"""Reading the audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.utils import timezone

from annotate.exporting.csv_lines import write_line
from annotate.models import AuditEvent, Project

COLUMNS = ("id", "when", "who", "action", "kind", "number", "name", "before", "after")


@dataclass(frozen=True)
class LogFilter:
    """``since`` and ``until`` are whole days, both included, in the house's time zone."""

    by: User | None = None
    action: str = ""
    since: date | None = None
    until: date | None = None


def list_events(project: Project, wanted: LogFilter | None = None) -> QuerySet[AuditEvent]:
    """Newest first."""
    wanted = wanted or LogFilter()
    events = AuditEvent.objects.filter(project=project).select_related("by")
    if wanted.by:
        events = events.filter(by=wanted.by)
    if wanted.action:
        events = events.filter(action=wanted.action)
    if wanted.since:
        events = events.filter(created_at__gte=_begin(wanted.since))
    if wanted.until and wanted.until < date.max:
        events = events.filter(created_at__lt=_begin(wanted.until + timedelta(days=1)))
    return events.order_by("-pk")


def list_actors(project: Project) -> QuerySet[User]:
    """Everybody who changed something."""
    people = AuditEvent.objects.filter(project=project).order_by().values("by").distinct()
    return User.objects.filter(pk__in=people).order_by("username")


def write_csv(events: QuerySet[AuditEvent]) -> Iterator[str]:
    """Line by line, with a head. Times are in UTC; a cell that a spreadsheet would take for a formula is quoted."""
    yield write_line(COLUMNS)
    for event in events.iterator(chunk_size=500):
        who = event.by.username if event.by else ""
        values = [json.dumps(value, ensure_ascii=False) if value else "" for value in (event.before, event.after)]
        cells = [event.pk, event.created_at.isoformat(), who, event.action, event.kind, event.number, event.name]
        yield write_line([*cells, *values])


def _begin(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
