"""Looks through a project's comparisons for responses that name their model or maker, and flags them.

python manage.py find_identity_leaks --project SLUG [--flag-only]
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from annotate.management.printing import find_project
from annotate.services.identity import scan_comparisons


class Command(BaseCommand):
    help = "Flags the pairs from before in which a response names its model; holds them back where the project does so."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, help="Short name (slug) of the project.")
        parser.add_argument("--flag-only", action="store_true", help="Let labelers see the pairs all the same.")

    def handle(self, *args: Any, **options: Any) -> None:
        project = find_project(options["project"])
        hold = project.holds_identity_leaks and not options["flag_only"]
        read, flagged = scan_comparisons(project=project, hold=hold)
        self.stdout.write(f"{read} comparisons read, {flagged} flagged{' and held back' if hold and flagged else ''}.")
