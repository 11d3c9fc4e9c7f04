"""A model's own page: facts, figures, and its lineage back to single votes and forward to what came of it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotate.permissions import admin_required
from models_registry.selectors import list_models, list_promotions
from training import selectors
from training.views import evaluation, outcome


@admin_required
@require_safe
@never_cache
def show_model(request: HttpRequest, pk: int) -> HttpResponse:
    model = get_object_or_404(list_models().select_related("archived_by").prefetch_related("events__by"), pk=pk)
    if "HX-Request" in request.headers:
        return render(request, "training/_model_preparation.html", {"model": model})
    lineage = selectors.get_lineage(model)
    context = {
        "model": model,
        "facts": outcome.list_facts(model),
        "accuracies": outcome.describe_accuracies(model.metrics),
        "plots": evaluation.list_plots(model.metrics),
        "lineage": lineage,
        "generations": lineage.steps[::-1],
        "uses": selectors.list_uses(model),
        "promotions": list_promotions(model),
    }
    return render(request, "training/model_detail.html", context)
