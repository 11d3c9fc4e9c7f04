"""Shows in the terminal what a run would train on, as the page Token preview does.

python manage.py preview_tokens --dataset kitchen-help/1 --base SmolLM2-135M-Instruct --method dpo --set max_length=512
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.management.printing import find_project
from annotate.models import DatasetVersion
from models_registry.inference.program import write_json_atomically
from models_registry.models import ModelVersion
from training.engine.config import METHODS, ConfigErrors, TrainingConfig
from training.previews import describe_job
from training.services import check_parts


class Command(BaseCommand):
    help = "Shows what a run would train on: counts for the whole set, and rows token by token."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dataset", required=True, metavar="PROJECT/NUMBER", help="For example kitchen-help/1.")
        parser.add_argument("--base", required=True, help="Name of the base model.")
        parser.add_argument("--method", required=True, choices=METHODS)
        parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="values")
        parser.add_argument("--examples", type=int, default=5, help="Rows to show token by token.")
        parser.add_argument("--start", type=int, default=0, help="The first of them, counted from 0.")

    def handle(self, *args: Any, **options: Any) -> None:
        version, base = _find_version(options["dataset"]), _find_model(options["base"])
        values = dict(_split_value(text) for text in options["values"])
        try:
            config = TrainingConfig.from_dict(options["method"], values).to_dict()
        except ConfigErrors as wrong:
            raise CommandError("; ".join(f"--set {name}: {reason}" for name, reason in wrong.errors)) from wrong
        if errors := check_parts(version, base, options["method"]):
            raise CommandError("; ".join(reason for _name, reason in errors))
        with TemporaryDirectory(prefix="preview-") as folder:
            write_json_atomically(Path(folder) / "config.json", describe_job(version, base, options["method"], config))
            shown = ["--examples", str(options["examples"]), "--start", str(options["start"])]
            self.stdout.flush()  # a process of its own, which writes where this one does: torch stays outside
            done = subprocess.run(
                [sys.executable, "-m", "training.engine.preview", folder, *shown], cwd=settings.BASE_DIR, check=False
            )
        if done.returncode:
            raise CommandError("The preview failed; the reason stands above.", returncode=done.returncode)


def _find_version(text: str) -> DatasetVersion:
    slug, _slash, number = text.rpartition("/")
    project = find_project(slug)
    versions = DatasetVersion.objects.filter(project=project)
    found = versions.filter(number=number).first() if number.isascii() and number.isdigit() else None
    if found is None:
        known = ", ".join(f"{slug}/{version.number}" for version in versions.order_by("number")) or "none"
        raise CommandError(f"There is no dataset version {text!r}. There are: {known}.")
    return found


def _find_model(name: str) -> ModelVersion:
    found = ModelVersion.objects.filter(name=name).first()
    if found is None:
        known = ", ".join(ModelVersion.objects.values_list("name", flat=True)) or "none"
        raise CommandError(f"There is no model named {name!r}. There are: {known}.")
    return found


def _split_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"--set {text}: write it as NAME=VALUE.")
    return name.strip(), value
