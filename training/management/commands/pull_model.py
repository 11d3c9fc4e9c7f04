"""``python manage.py pull_model NAME``: registers a model of the shared shelf; a worker fetches and checks it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.management.printing import find_admin
from models_registry import hub
from models_registry.models import ModelSource
from models_registry.services import RegisterError, register_model
from models_registry.store import StoreError


class Command(BaseCommand):
    help = "Registers a model of the shared shelf; a worker fetches and checks it. Without a name: which there are."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", nargs="?", default="", help="Name of the folder on the shelf.")
        parser.add_argument("--name", default="", help="As the registry shall call it (default: as the folder).")
        parser.add_argument("--by", default="", help="Name of the admin who pulls it (default: the first admin).")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if not options["folder"]:
                self.stdout.write("\n".join([f"{hub.locate_hub()} holds:", *hub.list_pushed()]))
                return
            by = find_admin(options["by"])
            model = register_model(source=ModelSource.PULL, ref=options["folder"], name=options["name"], by=by)
        except (RegisterError, StoreError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Model {model.pk}, {model.name}: a worker fetches and checks it.")
