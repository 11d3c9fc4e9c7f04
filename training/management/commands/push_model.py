"""``python manage.py push_model 7``: puts a model on the shared shelf (HUB_URL) at once, without a worker."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.management.printing import find_admin
from annotate.services.work_here import do_work_here
from models_registry.models import ModelVersion, WorkState
from training.pushes import PushError, push_model, request_push


class Command(BaseCommand):
    help = "Puts a model on the shared shelf, in the layout of a hub, and prints where it is with its digests."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", type=int, help="The model's number.")
        parser.add_argument("--by", default="", help="Name of the admin who pushes it (default: the first admin).")

    def handle(self, *args: Any, **options: Any) -> None:
        model = ModelVersion.objects.filter(pk=options["model"]).first()
        if model is None:
            raise CommandError(f"There is no model {options['model']}.")
        try:
            push = do_work_here(partial(request_push, model=model, by=find_admin(options["by"])), push_model)
        except PushError as error:
            raise CommandError(str(error)) from error
        if push.state != WorkState.FINISHED:
            raise CommandError(push.cause)
        self.stdout.write(push.result["url"])
        for name, file in push.result["files"].items():
            self.stdout.write(f"  {file['sha256']}  {name}")
