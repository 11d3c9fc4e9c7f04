"""The page of the workers: which live, what they have, and what each is at; and a run's place in their queue."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from annotate.permissions import admin_required, get_labeler
from models_registry.machines import read_version
from models_registry.models import LeasedWork
from training import services
from training.models import Run, RunShare
from training.placing import PriorityForm
from training.workers import KINDS, BusyWorker, list_busy_workers

_PAGES = {
    "run": "run_detail",
    "runshare": "run_detail",
    "tokenpreview": "preview_detail",
    "samplingjob": "sampling_detail",
    "datasetversion": "dataset_detail",
    "import": "import_detail",
}


@admin_required
@require_safe
@never_cache
def show_workers(request: HttpRequest) -> HttpResponse:
    """The table alone where it asks for itself again."""
    workers = list_busy_workers()
    context = {"rows": [_describe(row) for row in workers], "any_alive": any(row.worker.is_alive for row in workers)}
    template = "training/_worker_table.html" if "HX-Request" in request.headers else "training/worker_list.html"
    return render(request, template, context)


def _describe(row: BusyWorker) -> dict[str, Any]:
    versions = dict(row.worker.machine.versions)
    own = versions.pop("plumbline", "")
    return {
        "worker": row.worker,
        "state": row.state,
        "works": [_describe_work(work) for work in row.works],
        "version": own,
        "is_other_version": bool(own) and own != read_version(),
        "packages": versions,
    }


def _describe_work(work: LeasedWork) -> dict[str, Any]:
    kind = type(work).__name__.lower()
    page = _PAGES.get(kind)
    return {
        "work": work,
        "kind": KINDS.get(kind, kind),
        "name": str(work) if kind in ("run", "runshare") else f"{work.pk}",
        "url": reverse(page, args=[work.run_id if isinstance(work, RunShare) else work.pk]) if page else "",
    }


@admin_required
@require_POST
def change_priority(request: HttpRequest, pk: int) -> HttpResponse:
    """From the page of a run that waits."""
    run = get_object_or_404(Run, pk=pk)
    form = PriorityForm(request.POST)
    errors = [(name, str(text)) for name, texts in form.errors.items() for text in texts]
    if not errors:
        try:
            change = form.cleaned_data
            services.change_priority(run=run, by=get_labeler(request), **change)
        except services.LaunchErrors as wrong:
            errors = wrong.errors
    for _name, text in errors:
        messages.error(request, text)
    return redirect("run_detail", pk)
