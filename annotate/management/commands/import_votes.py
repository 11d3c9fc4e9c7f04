"""Brings in pairs with the votes of workers elsewhere (the format: annotate/importing/votes.py).

python manage.py import_votes --project SLUG FILE.jsonl.gz
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.importing.problems import FileProblem
from annotate.management.printing import find_project
from annotate.services.worker_votes import VotesRefused, import_votes


class Command(BaseCommand):
    help = "Brings in pairs with the votes of workers elsewhere, who become accounts that cannot log in."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="JSON Lines, plain or gzip.")
        parser.add_argument("--project", required=True, help="Short name (slug) of the project.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            brought = import_votes(project=find_project(options["project"]), path=options["file"])
        except OSError as error:
            raise CommandError(f"{options['file'].name} cannot be read: {error.strerror}.") from error
        except FileProblem as problem:
            raise CommandError(problem.reason) from problem
        except VotesRefused as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{brought.comparisons} comparisons, {brought.votes} votes of {brought.workers} workers; "
            f"{brought.duplicates} pairs were there already."
        )
