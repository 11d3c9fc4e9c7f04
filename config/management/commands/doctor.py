"""``python manage.py doctor``: looks at this machine and says what is missing or dangerous. Ends with 1 where it cannot
run the house."""

from __future__ import annotations

import json
from typing import Any

from django.core.management import BaseCommand, CommandParser

from config.doctor import examine

_SIGNS = {"ok": "ok     ", "warning": "WARNING", "failure": "FAILURE"}


class Command(BaseCommand):
    help = "Checks versions, database, broker, disk, settings and GPUs; changes nothing."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="A list of {subject, verdict, text}.")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = []
        for finding in examine():
            findings.append(finding)
            if not options["json"]:
                self.stdout.write(f"{_SIGNS[finding.verdict]}  {finding.subject:<13} {finding.text}")
        if options["json"]:
            self.stdout.write(json.dumps([finding.as_json() for finding in findings], indent=2))
        if any(finding.verdict == "failure" for finding in findings):
            raise SystemExit(1)
