"""Imports a file of comparisons or prompts at once, without a worker, and prints its report.

python manage.py import_comparisons --project SLUG --format hh-rlhf FILE.jsonl.gz [--leave-out-bad-lines]
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from django.core.files import File
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.management.printing import find_admin, find_project, print_report
from annotate.models import Import
from annotate.services.imports import ImportRefused, perform_import, start_import
from annotate.services.work_here import do_work_here
from models_registry.models import WorkState


class Command(BaseCommand):
    help = "Imports a file of comparisons or prompts at once and prints its report."
    format: Import.Format | None = None
    """The one that a command of its own is for."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="JSON Lines, plain or gzip.")
        parser.add_argument("--project", required=True, help="Short name (slug) of the project.")
        if self.format is None:
            parser.add_argument("--format", required=True, choices=Import.Format.values)
        parser.add_argument(
            "--leave-out-bad-lines",
            action="store_true",
            help="Import the good lines and report the bad ones; without it, any bad line keeps the whole file out.",
        )
        parser.add_argument("--by", default="", help="Name of the admin who imports (default: the first admin).")

    def handle(self, *args: Any, **options: Any) -> None:
        on_bad_line = Import.OnBadLine.LEAVE_OUT if options["leave_out_bad_lines"] else Import.OnBadLine.REJECT
        start = partial(
            start_import,
            project=find_project(options["project"]),
            format=self.format or options["format"],
            on_bad_line=on_bad_line,
            by=find_admin(options["by"]),
        )
        path: Path = options["file"]
        try:
            with path.open("rb") as file:
                work = do_work_here(partial(start, uploaded_file=File(file, name=path.name)), perform_import)
        except OSError as error:
            raise CommandError(f"{path.name} cannot be read: {error.strerror}.") from error
        except ImportRefused as error:
            raise CommandError(str(error)) from error
        print_report(self.stdout, work)
        if work.state != WorkState.FINISHED:
            raise CommandError(work.cause)
