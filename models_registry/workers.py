"""Which workers live and what they have: each says so in a row of its own, whenever it looks for work that lies about.

Nothing is decided by these rows, for the leases say who owns what and each worker knows for itself what it can take;
people and alarms read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from models_registry.machines import UNKNOWN, Machine
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
    started_at: datetime
    machine: Machine

    @property
    def place(self) -> str:
        """Of those that share devices the same; an older worker does not say."""
        return self.machine.place or self.name

    def takes(self, queue: str) -> bool:
        """Whether it lives and takes new work of this queue."""
        return self.is_alive and not self.is_leaving and queue in self.queues


@transaction.atomic
def beat(name: str, queues: list[str], machine: Machine = UNKNOWN, *, is_leaving: bool = False) -> None:
    """This worker lives and has this. Rows of workers that have been silent for a day go."""
    has = machine.to_dict()
    values = {"queues": ",".join(queues), "is_leaving": is_leaving, "seen_at": Now(), "machine": has}
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
        SeenWorker(
            name=row.name,
            queues=row.queues.split(","),
            seen_at=row.seen_at,
            is_alive=row.now - row.seen_at <= silent,
            is_leaving=row.is_leaving,
            started_at=row.started_at,
            machine=Machine.from_dict(row.machine),
        )
        for row in rows
    ]
