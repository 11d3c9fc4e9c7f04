"""Draws every pair that was judged again and compares it with what the ledger says was shown.

python manage.py verify_displays --project SLUG
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from annotate.management.printing import find_project
from annotate.selectors.displays import verify_displays

_LISTED = 20


class Command(BaseCommand):
    help = "Tells which judgments were given on a page that would look different today."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, help="Short name (slug) of the project.")

    def handle(self, *args: Any, **options: Any) -> None:
        found = verify_displays(find_project(options["project"]))
        self.stdout.write(
            f"{found.same} shown as today, {len(found.different)} differently, {found.unrecorded} not recorded."
        )
        for number in found.different[:_LISTED]:
            self.stdout.write(f"  judgment {number}")
        if (more := len(found.different) - _LISTED) > 0:
            self.stdout.write(f"  … and {more} more")
