"""Reading the registry."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Prefetch, QuerySet, Subquery

from models_registry.models import ModelSource, ModelVersion, Promotion


def list_models() -> QuerySet[ModelVersion]:
    """All models, newest first, with their base, how far their preparation is, and what they are called (standing)."""
    called = Prefetch("promotions", list_standing(), to_attr="standing")
    return ModelVersion.objects.select_related("base", "model_import", "created_by").prefetch_related(called)


def list_usable() -> QuerySet[ModelVersion]:
    """Those with which something new can be begun; see ModelVersion.explain_unusable."""
    return ModelVersion.objects.filter(ready_at__isnull=False, weights_removed_at=None, archived_at=None)


def list_standing() -> QuerySet[Promotion]:
    """The last row of each alias and kind, where it names a model: who is called what now."""
    later = Promotion.objects.filter(alias=OuterRef("alias"), kind=OuterRef("kind"), pk__gt=OuterRef("pk"))
    return Promotion.objects.filter(~Exists(later), model__isnull=False).order_by("alias", "kind")


def list_promotions(model: ModelVersion) -> QuerySet[Promotion]:
    """How aliases came to this model and were taken back, newest first; ``until``: when the alias moved on."""
    mine = Promotion.objects.filter(model=model) | Promotion.objects.filter(former=model)
    later = Promotion.objects.filter(alias=OuterRef("alias"), kind=OuterRef("kind"), pk__gt=OuterRef("pk"))
    until = Subquery(later.order_by("pk").values("at")[:1])
    return mine.select_related("by").annotate(until=until).order_by("-pk")


def find_demo_model() -> ModelVersion | None:
    return ModelVersion.objects.filter(source=ModelSource.DEMO).order_by("pk").first()
