"""``python manage.py backup FOLDER``: the database and all files of the house, with a manifest of digests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from config.backup import BackupError, back_up


class Command(BaseCommand):
    help = "Copies everything that the house keeps into an empty folder; the house may run meanwhile."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            manifest = back_up(options["folder"])
        except (BackupError, OSError, DatabaseError) as error:
            raise CommandError(str(error)) from error
        size = sum(entry["bytes"] for entry in manifest["files"])
        self.stdout.write(f"{len(manifest['files'])} files, {size / 1024**2:,.1f} MiB, in {options['folder']}.")
