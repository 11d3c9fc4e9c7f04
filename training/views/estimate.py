"""What the run in the launch form would take; asked for anew as the settings change."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate.permissions import admin_required
from training.dry_run import words
from training.dry_run.estimate import estimate_launch
from training.engine.config import METHODS
from training.forms import LaunchForm
from training.models import Method
from training.placing import PlacementForm
from training.services import LaunchErrors


@admin_required
@require_safe
def show_estimate(request: HttpRequest) -> HttpResponse:
    """The panel for what stands in the form, and the verdict beside its button."""
    typed = request.GET.dict()
    method = typed["method"] if typed.get("method") in METHODS else Method.DPO.value
    context = describe_estimate(LaunchForm(method, typed), PlacementForm(typed))
    return render(request, "training/_run_estimate.html", context | {"oob": True})


def describe_estimate(form: LaunchForm, place: PlacementForm) -> dict[str, Any]:
    """``estimate`` and its words; None while a field errs, whose own words say so."""
    typed, placed = LaunchForm(form.method, _read_values(form)), PlacementForm(_read_values(place))
    if not (typed.is_valid() and placed.is_valid()):
        return {"estimate": None}
    try:
        estimate = estimate_launch(
            dataset_version=typed.cleaned_data["dataset"],
            base_model=typed.cleaned_data["base"],
            method=typed.method,
            values=typed.values,
            placement=placed.placement,
            limit_hours=typed.cleaned_data["limit_hours"],
            limit_gb=typed.cleaned_data["limit_gb"],
        )
    except LaunchErrors:
        return {"estimate": None}
    return {
        "estimate": estimate,
        "verdict": words.say_verdict(estimate),
        "figures": words.list_figures(estimate),
        "parts": [(words.name_part(part), words.show_size(size)) for part, size in estimate.memory.parts.items()],
        "warnings": words.list_warnings(estimate),
        "sources": words.list_sources(estimate),
    }


def _read_values(form: Form) -> dict[str, Any]:
    """What stands in the fields, whether typed or proposed, as a browser would send it."""
    values = {name: form[name].value() for name in form.fields}
    return {name: value.pk if isinstance(value, Model) else value for name, value in values.items()}
