"""Pages of token previews: asking for one from the launch form, following it, and reading what a run would train on."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from annotate.permissions import admin_required, get_labeler
from training import previews
from training.engine.config import METHODS, list_settings
from training.forms import LaunchForm, apply_recipe, type_value
from training.models import TokenPreview
from training.placing import PLACEMENT_FIELDS, PlacementForm
from training.services import LaunchErrors
from training.views import preview_words as words
from training.views.launch import is_number, render_form

KEPT_FIELDS = ("name", "notes", "recipe", "like", "limit_hours", "limit_gb", *PLACEMENT_FIELDS)
"""What a person typed that no preview depends on: it travels in the address, back to the form."""


@admin_required
@require_POST
def start_preview(request: HttpRequest) -> HttpResponse:
    """From the launch form: makes a preview, or finds it, and leads to its page; draws the form again where it errs."""
    typed = request.POST.dict()
    method = typed["method"] if typed.get("method") in METHODS else METHODS[0]
    form = LaunchForm(method, apply_recipe(method, typed))  # without JavaScript a recipe may be chosen since
    place = PlacementForm(typed)
    if form.is_valid():
        try:
            preview = previews.request_preview(
                dataset_version=form.cleaned_data["dataset"],
                base_model=form.cleaned_data["base"],
                method=form.method,
                values=form.values,
                by=get_labeler(request),
            )
        except LaunchErrors as wrong:
            form.add_errors(wrong.errors)
        else:
            own = {
                name: typed[name] for name in KEPT_FIELDS if typed.get(name, "") not in ("", PLACEMENT_FIELDS.get(name))
            }
            if own.get("name") == typed.get("proposed"):
                own.pop("name", None)
            return redirect(_locate("preview_detail", preview, own))
    return render_form(request, form, place, kept={}, proposed=typed.get("proposed", ""), status=422)


@admin_required
@require_safe
@never_cache
def show_preview(request: HttpRequest, pk: int) -> HttpResponse:
    """One preview; ``?example=`` chooses the row that is shown token by token."""
    preview = get_object_or_404(previews.list_previews(), pk=pk)
    return render(request, "training/preview_detail.html", _describe(request, preview))


@admin_required
@require_safe
@never_cache
def show_preview_status(request: HttpRequest, pk: int) -> HttpResponse:
    """The part of the page that changes; asked for until the preview is over."""
    preview = get_object_or_404(previews.list_previews(), pk=pk)
    if preview.is_over and request.GET.get("state") != preview.state:
        said = {"preview": _("Token preview"), "state": preview.get_state_display()}
        messages.info(request, _("%(preview)s: %(state)s") % said)
    return render(request, "training/_preview_update.html", _describe(request, preview) | {"oob": True})


def _describe(request: HttpRequest, preview: TokenPreview) -> dict[str, Any]:
    own = {name: request.GET[name] for name in KEPT_FIELDS if request.GET.get(name)}
    drawn = {"drawn_recipe": own["recipe"]} if "recipe" in own else {}  # its values are among the settings already
    asked = request.GET.get("example", "")
    number = int(asked) if is_number(asked) else 1
    context: dict[str, Any] = {
        "preview": preview,
        "own": urlencode(own),
        "launch_url": f"{reverse('run_new')}?{urlencode(_list_typed(preview, whole='like' in own) | own | drawn)}",
    }
    if preview.result:
        context |= words.describe_result(preview.result, number)
    return context


def _list_typed(preview: TokenPreview, *, whole: bool) -> dict[str, str]:
    """The preview's settings as if typed into the form; the usual ones need not be said unless ``whole``."""
    typed = {
        setting.name: type_value(preview.config[setting.name])
        for setting in list_settings(preview.method)
        if setting.name in preview.config and (whole or preview.config[setting.name] != setting.default)
    }
    chosen = {"method": preview.method, "dataset": preview.dataset_version_id, "base": preview.base_model_id}
    return {name: str(value) for name, value in chosen.items()} | typed


def _locate(route: str, preview: TokenPreview, query: dict[str, str]) -> str:
    path = reverse(route, args=[preview.pk])
    return f"{path}?{urlencode(query)}" if query else path
