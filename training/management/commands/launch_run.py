"""Queues a training run; a worker takes it up.

python manage.py launch_run --project helpful-answers --base SmolLM2-135M-Instruct --recipe dpo-paper --set lora_r=16
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from models_registry.models import WorkState
from training.management.launching import (
    add_launch_arguments,
    add_launcher_argument,
    follow_runs,
    launch_asked,
    locate,
    read_asked,
)


class Command(BaseCommand):
    help = "Queues a training run on a dataset version; a worker takes it up."

    def add_arguments(self, parser: CommandParser) -> None:
        add_launch_arguments(parser)
        add_launcher_argument(parser)
        parser.add_argument("--name", default="", help="Name of the run and of its model (default: made up).")
        parser.add_argument("--wait", action="store_true", help="Follow it to its end; fails if the run fails.")

    def handle(self, *args: Any, **options: Any) -> None:
        run = launch_asked(read_asked(options), name=options["name"], by=options["by"])
        self.stdout.write(f"Run {run.pk}, {run.name}: {locate(run)}")
        if not options["wait"]:
            self.stdout.write("A worker takes it up. Watch it on its page; with --wait this command follows it too.")
            return
        (run,) = follow_runs([run], self.stdout)
        if run.state != WorkState.FINISHED:
            raise CommandError(f"The run is {run.state}.")
        self.stdout.write(f"Model: {run.model}")
