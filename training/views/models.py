"""A model's own page: facts, figures, and its lineage back to single votes and forward to what came of it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from annotate.permissions import admin_required, get_labeler
from models_registry.models import ModelVersion
from models_registry.selectors import list_models, list_promotions
from training import selectors
from training.pushes import PushError, list_pushes, request_push
from training.views import evaluation, outcome


@admin_required
@require_safe
@never_cache
def show_model(request: HttpRequest, pk: int) -> HttpResponse:
    model = get_object_or_404(list_models().select_related("archived_by").prefetch_related("events__by"), pk=pk)
    if "HX-Request" in request.headers and "pushes" in request.GET:
        return render(request, "training/_model_pushes.html", {"model": model, "pushes": list_pushes(model)})
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
        "pushes": list_pushes(model),
    }
    return render(request, "training/model_detail.html", context)


@admin_required
@require_POST
def push_model(request: HttpRequest, pk: int) -> HttpResponse:
    """A worker does it; the page follows it."""
    model = get_object_or_404(ModelVersion, pk=pk)
    try:
        request_push(model=model, by=get_labeler(request))
    except PushError as error:
        messages.error(request, str(error))
    return redirect("model_detail", pk)
