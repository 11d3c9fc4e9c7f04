"""Queues a training run; a worker takes it up.

python manage.py launch_run --dataset 1 --base SmolLM2-135M-Instruct --method dpo --recipe dpo-paper --set lora_r=16
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.urls import reverse

from training.management.launching import add_launch_arguments, launch_from


class Command(BaseCommand):
    help = "Queues a training run on a dataset version; a worker takes it up."

    def add_arguments(self, parser: CommandParser) -> None:
        add_launch_arguments(parser)
        parser.add_argument("--name", default="", help="Name of the run and of its model (default: made up).")

    def handle(self, *args: Any, **options: Any) -> None:
        run = launch_from(options, name=options["name"])
        self.stdout.write(f"Run {run.pk}, {run.name}: {reverse('run_detail', args=[run.pk])}")
