"""``python manage.py worker_alive``: ends with 0 where a worker of this host was seen lately, for health checks."""

from __future__ import annotations

import socket
from typing import Any

from django.core.management import BaseCommand, CommandError

from models_registry.workers import list_workers


class Command(BaseCommand):
    help = "Ends with 1 unless a worker of this host (in a container: its own) has lately said that it lives."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        host = socket.gethostname()
        names = [worker.name for worker in list_workers() if worker.is_alive and worker.name.endswith(f"@{host}")]
        if not names:
            raise CommandError(f"No worker of {host} was seen lately.")
        self.stdout.write(", ".join(names))
