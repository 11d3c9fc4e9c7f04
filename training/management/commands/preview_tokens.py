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

from models_registry.inference.program import write_json_atomically
from training.management.launching import add_launch_arguments, name_options, read_asked
from training.previews import describe_job
from training.services import check_launch


class Command(BaseCommand):
    help = "Shows what a run would train on: counts for the whole set, and rows token by token."

    def add_arguments(self, parser: CommandParser) -> None:
        add_launch_arguments(parser)
        parser.add_argument("--examples", type=int, default=5, help="Rows to show token by token.")
        parser.add_argument("--start", type=int, default=0, help="The first of them, counted from 0.")

    def handle(self, *args: Any, **options: Any) -> None:
        for name in ("examples", "start"):
            if options[name] < 0:
                raise CommandError(f"--{name}: must be at least 0")
        asked = read_asked(options)
        parts = asked.dataset_version, asked.base_model, asked.method
        config, errors = check_launch(*parts, asked.values, asked.recipe)
        if errors:
            raise CommandError(name_options(errors))
        with TemporaryDirectory(prefix="preview-") as folder:
            write_json_atomically(Path(folder) / "config.json", describe_job(*parts, config))
            shown = ["--examples", str(options["examples"]), "--start", str(options["start"])]
            self.stdout.flush()  # a process of its own, which writes where this one does: torch stays outside
            done = subprocess.run(
                [sys.executable, "-m", "training.engine.preview", folder, *shown], cwd=settings.BASE_DIR, check=False
            )
        if done.returncode:
            raise CommandError("The preview failed; the reason stands above.", returncode=done.returncode)
