"""``python manage.py fill_store``: what lies on this machine alone goes to the store."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandError

from annotate.models import DatasetVersion
from models_registry.models import ModelVersion, WorkState
from models_registry.store import StoreError, open_store, put_folder


class Command(BaseCommand):
    help = "Copies ready models and frozen datasets of this machine that are not in the object store to it."

    def handle(self, *args: Any, **options: Any) -> None:
        rows: list[ModelVersion | DatasetVersion] = [
            *ModelVersion.objects.filter(ready_at__isnull=False).order_by("pk"),
            *DatasetVersion.objects.filter(state=WorkState.FINISHED).order_by("pk"),
        ]
        done = 0
        try:
            if (store := open_store()) is None:
                raise CommandError("STORE_URL names no store.")
            for row in rows:
                field = "facts" if isinstance(row, ModelVersion) else "counts"
                values = getattr(row, field)
                if "stored" in values or not row.folder.is_dir():
                    continue
                key = f"{row.folder.parent.name}/{row.pk}/filled"
                digest, manifest = put_folder(store, key, row.folder)
                stored = {"stored": {"key": key, "sha256": digest}}
                type(row)._default_manager.filter(pk=row.pk).update(**{field: values | stored})
                self.stdout.write(f"{row}: {len(manifest)} files at {store.url}/{key}")
                done += 1
        except StoreError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{done} stored.")
