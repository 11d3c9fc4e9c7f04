"""The archive's pages: putting something away with a reason, and taking it out again."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from models_registry.permissions import admin_required, get_admin
from training import archiving
from training.archiving import KINDS, ArchiveError, Thing


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=300,
        help_text=gettext_lazy("Why, for those who look for it later."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


PAGES = {"models": "model_detail", "runs": "run_detail", "datasets": "dataset_detail"}


def find_archivable(kind: str, pk: int) -> Thing:
    if kind not in KINDS:
        raise Http404
    model: Any = KINDS[kind]  # get_object_or_404 knows no union
    thing: Thing = get_object_or_404(model, pk=pk)
    return thing


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def archive(request: HttpRequest, kind: str, pk: int) -> HttpResponse:
    """A page of its own: it asks for a reason, in sight of what stands against it."""
    thing = find_archivable(kind, pk)
    form = ReasonForm(request.POST or None)
    if form.is_valid():
        try:
            archiving.archive(thing, reason=form.cleaned_data["reason"], by=get_admin(request))
        except ArchiveError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, _("%(name)s is archived.") % {"name": thing})
            return redirect(PAGES[kind], pk)
    obstacle = archiving.find_obstacle(thing) if not form.is_bound else ""
    context = {"thing": thing, "kind": kind, "page": PAGES[kind], "form": form, "obstacle": obstacle}
    return render(request, "training/archive.html", context, status=422 if form.is_bound else 200)


@admin_required
@require_POST
def restore(request: HttpRequest, kind: str, pk: int) -> HttpResponse:
    thing = find_archivable(kind, pk)
    try:
        archiving.restore(thing, by=get_admin(request))
    except ArchiveError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("%(name)s is restored.") % {"name": thing})
    return redirect(PAGES[kind], pk)
