"""Reading the registry."""

from __future__ import annotations

from django.db.models import QuerySet

from models_registry.models import ModelSource, ModelVersion


def list_models() -> QuerySet[ModelVersion]:
    """All models, newest first, with their base and how far their preparation is."""
    return ModelVersion.objects.select_related("base", "model_import", "created_by")


def find_demo_model() -> ModelVersion | None:
    return ModelVersion.objects.filter(source=ModelSource.DEMO).order_by("pk").first()
