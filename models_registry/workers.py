"""Which workers live: each says so in a row of its own, as often as it looks for work that lies about.

Nothing is decided by these rows, for the leases say who owns what; people and alarms read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from models_registry.models import Worker

_FORGET_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class SeenWorker:
    """``seen_at`` and ``is_alive`` by the database's clock."""

    name: str
    queues: list[str]
    seen_at: datetime
    is_alive: bool
    is_leaving: bool


@transaction.atomic
def beat(name: str, queues: list[str], *, is_leaving: bool = False) -> None:
    """This worker lives. Rows of workers that have been silent for a day go."""
    values = {"queues": ",".join(queues), "is_leaving": is_leaving, "seen_at": Now()}
    if not Worker.objects.filter(name=name).update(**values):
        Worker.objects.create(name=name, started_at=Now(), **values)
    Worker.objects.filter(seen_at__lt=Now() - _FORGET_AFTER).delete()


def sign_off(name: str) -> None:
    """This worker has left in good order."""
    Worker.objects.filter(name=name).delete()


def list_workers() -> list[SeenWorker]:
    """Alive is who was seen within three looks of the reconciler."""
    silent = timedelta(seconds=3 * settings.RECONCILE_SECONDS)
    rows = Worker.objects.annotate(now=Now()).order_by("name")
    return [
        SeenWorker(row.name, row.queues.split(","), row.seen_at, row.now - row.seen_at <= silent, row.is_leaving)
        for row in rows
    ]
