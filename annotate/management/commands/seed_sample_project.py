"""Makes the sample project "Helpful answers" with real comparisons; a second call adds only what is missing.

python manage.py seed_sample_project [--by USERNAME]
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.management.printing import find_admin, print_report
from annotate.services.sample_project import SampleError, seed_sample_project


class Command(BaseCommand):
    help = "Makes the sample project with real comparisons; a second call adds only what is missing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--by", default="", help="Name of the admin who makes it (default: the first admin).")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            project, work = seed_sample_project(by=find_admin(options["by"]))
        except SampleError as error:
            raise CommandError(str(error)) from error
        if options["verbosity"] == 0:
            return
        if work is None:
            self.stdout.write(f'The project "{project.name}" was there already.')
            return
        self.stdout.write(f'Made the project "{project.name}".')
        print_report(self.stdout, work)
