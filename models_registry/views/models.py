"""Pages of the registry: the list, adding a base model, and trying a failed preparation again.

The page of a single model belongs to the training room, which alone may look at all that became of it.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from models_registry import promotions, services
from models_registry.forms import FolderForm, HubForm, PromotionForm, PullForm
from models_registry.leases import CannotCancel, CannotRetry
from models_registry.models import ModelImport, ModelSource, ModelVersion
from models_registry.permissions import admin_required, get_admin
from models_registry.selectors import find_demo_model, list_models, list_standing


@admin_required
@require_safe
@never_cache
def show_models(request: HttpRequest) -> HttpResponse:
    archived = request.GET.get("archived") == "1"
    models = list(list_models().filter(archived_at__isnull=not archived))
    context = {
        "models": models,
        "any_active": any(is_under_way(model) for model in models),
        "archived": archived,
        "archived_count": ModelVersion.objects.exclude(archived_at=None).count(),
    }
    template = (
        "models_registry/_model_table.html" if "HX-Request" in request.headers else "models_registry/model_list.html"
    )
    return render(request, template, context)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def add_model(request: HttpRequest) -> HttpResponse:
    """Four forms on one page; the hidden ``source`` says which was sent."""
    kinds: dict[str, Any] = {ModelSource.FOLDER: FolderForm, ModelSource.HUB: HubForm, ModelSource.PULL: PullForm}
    forms: dict[str, Any] = {source: kind(prefix=source) for source, kind in kinds.items()}
    status = 200
    if request.method == "POST":
        source = request.POST.get("source", "")
        if source == ModelSource.DEMO:
            services.add_demo_model(by=get_admin(request))
            return redirect("model_list")
        if source in kinds:
            forms[source] = kinds[source](request.POST, prefix=source)
            if _register(request, source, forms[source]):
                return redirect("model_list")
        status = 422
    context = {
        "folder_form": forms[ModelSource.FOLDER],
        "hub_form": forms[ModelSource.HUB],
        "pull_form": forms[ModelSource.PULL],
        "demo": find_demo_model(),
        "folder_places": settings.MODEL_ROOTS,
    }
    return render(request, "models_registry/model_add.html", context, status=status)


@admin_required
@require_POST
def retry_import(request: HttpRequest, pk: int) -> HttpResponse:
    model_import = get_object_or_404(ModelImport, model=pk)
    try:
        services.retry_import(model_import=model_import)
    except CannotRetry as error:
        messages.error(request, str(error))
    return redirect("model_list")


@admin_required
@require_POST
def cancel_import(request: HttpRequest, pk: int) -> HttpResponse:
    model_import = get_object_or_404(ModelImport, model=pk)
    try:
        services.cancel_import(model_import=model_import)
    except CannotCancel as error:
        messages.error(request, str(error))
    return redirect("model_list")


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def promote(request: HttpRequest, pk: int) -> HttpResponse:
    """A page of its own: an alias is moved with a reason, in sight of who has it."""
    model = get_object_or_404(ModelVersion, pk=pk)
    form = PromotionForm(request.POST or None)
    if form.is_valid():
        try:
            promotions.promote(model=model, by=get_admin(request), **form.cleaned_data)
        except promotions.PromotionError as error:
            form.add_error(None, str(error))
        else:
            messages.success(
                request, _("%(model)s is %(alias)s now.") % {"model": model.name, "alias": form.cleaned_data["alias"]}
            )
            return redirect("model_detail", pk)
    context = {
        "model": model,
        "form": form,
        "standing": list_standing().filter(kind=model.kind).select_related("model"),
    }
    return render(request, "models_registry/promote.html", context, status=422 if form.is_bound else 200)


@admin_required
@require_POST
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    model = get_object_or_404(ModelVersion, pk=pk)
    try:
        promotions.withdraw(model=model, alias=request.POST.get("alias", "")[:30], by=get_admin(request))
    except promotions.PromotionError as error:
        messages.error(request, str(error))
    return redirect("model_detail", pk)


def is_under_way(model: ModelVersion) -> bool:
    """Whether its files are still being brought in."""
    return not model.is_ready and hasattr(model, "model_import") and not model.model_import.is_over


def _register(request: HttpRequest, source: str, form: Form) -> bool:
    if not form.is_valid():
        return False
    fields = {"ref": form.cleaned_data["ref"], "name": form.cleaned_data["name"]}
    try:
        model = services.register_model(source=source, by=get_admin(request), **fields)
    except services.RegisterError as error:
        form.add_error(error.field if error.field in form.fields else None, str(error))
        return False
    messages.success(request, _("%(name)s is being prepared.") % {"name": model.name})
    return True
