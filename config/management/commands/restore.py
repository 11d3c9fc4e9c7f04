"""``python manage.py restore FOLDER``: a backup into an empty DATA_DIR and an empty database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from config.backup import BackupError, restore


class Command(BaseCommand):
    help = "Checks a backup and copies it into an empty house; newer migrations are applied. Nothing may run meanwhile."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            manifest = restore(options["folder"])
        except (BackupError, OSError, DatabaseError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Restored the backup of {manifest['made_at']}: {len(manifest['files'])} files.")
