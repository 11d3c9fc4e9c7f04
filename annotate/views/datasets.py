"""Pages of dataset versions: the list, a new one with a live preview, one version, its files."""

from __future__ import annotations

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.exporting.rule import DatasetRule, RuleError
from annotate.forms import DatasetForm
from annotate.models import DatasetVersion, Project
from annotate.permissions import admin_required, get_labeler, get_led_project, get_project_or_404, require_lead
from annotate.selectors.datasets import (
    CONTENT_TYPES,
    FILES,
    describe_counts,
    describe_stored_rule,
    find_file,
    list_versions,
    read_first_rows,
)
from annotate.services import datasets as services
from models_registry import leases

_PER_PAGE = 25
_ROWS_SHOWN = 3


@require_safe
@never_cache
def show_datasets(request: HttpRequest, slug: str) -> HttpResponse:
    project = get_led_project(get_labeler(request), slug)
    archived = request.GET.get("archived") == "1"
    listed = list_versions(project).filter(archived_at__isnull=not archived)
    context = {
        "project": project,
        "page": Paginator(listed, _PER_PAGE).get_page(request.GET.get("page")),
        "archived": archived,
        "archived_count": list_versions(project).exclude(archived_at=None).count(),
    }
    return render(request, "annotate/dataset_list.html", context)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def make_dataset(request: HttpRequest, slug: str) -> HttpResponse:
    """Freezes a version; asked to ``show``, or by GET, tells what the rule would give (htmx gets that part alone)."""
    project = get_project_or_404(get_labeler(request), slug)
    form = DatasetForm(request.POST or None, project=project)
    freeze = request.method == "POST" and "show" not in request.POST
    if freeze and form.is_valid():
        try:
            version = services.freeze_dataset(
                project=project, rule=form.build_rule(), notes=form.cleaned_data["notes"], by=get_labeler(request)
            )
        except RuleError as error:
            _show_rule_error(form, error)
        except services.DatasetError as error:
            form.add_error(None, str(error))
        else:
            return redirect("dataset_detail", version.pk)
    context = {"project": project, "form": form} | _preview(form, project)
    template = "annotate/_dataset_preview.html" if request.htmx else "annotate/dataset_new.html"  # type: ignore[attr-defined]
    return render(request, template, context, status=422 if freeze and form.errors else 200)


@require_safe
@never_cache
def show_dataset(request: HttpRequest, pk: int) -> HttpResponse:
    version = get_object_or_404(DatasetVersion.objects.select_related("project", "created_by", "archived_by"), pk=pk)
    require_lead(get_labeler(request), version.project)
    context = {
        "version": version,
        "project": version.project,
        "rule": describe_stored_rule(version),
        "figures": describe_counts(version.counts, version.left_out),
        "rows": read_first_rows(version, _ROWS_SHOWN),
    }
    template = "annotate/_dataset_state.html" if request.htmx else "annotate/dataset_detail.html"  # type: ignore[attr-defined]
    return render(request, template, context)


@admin_required
@require_safe
def download_dataset(request: HttpRequest, pk: int, name: str) -> FileResponse:
    return open_download(get_object_or_404(DatasetVersion.objects.select_related("project"), pk=pk), name)


def open_download(version: DatasetVersion, name: str) -> FileResponse:
    """The file as an attachment, streamed; never shown inside a page. Raises Http404 for what is not there."""
    path = find_file(version, name)
    if path is None:
        raise Http404
    shown = f"{version.project.slug}-v{version.number}-{FILES[name]}"
    response = FileResponse(path.open("rb"), as_attachment=True, filename=shown, content_type=CONTENT_TYPES[name])
    response["Cache-Control"] = "private, no-transform"
    digest = {"train": version.train_sha256, "eval": version.eval_sha256}.get(name)
    if digest:
        response["ETag"] = f'"{digest}"'
    return response


@admin_required
@require_POST
def retry_dataset(request: HttpRequest, pk: int) -> HttpResponse:
    version = get_object_or_404(DatasetVersion, pk=pk)
    try:
        services.retry_dataset(version=version, by=get_labeler(request))
    except leases.CannotRetry as error:
        messages.error(request, str(error))
    return redirect("dataset_detail", pk)


@admin_required
@require_POST
def cancel_dataset(request: HttpRequest, pk: int) -> HttpResponse:
    version = get_object_or_404(DatasetVersion, pk=pk)
    try:
        services.cancel_dataset(version=version, by=get_labeler(request))
    except leases.CannotCancel as error:
        messages.error(request, str(error))
    return redirect("dataset_detail", pk)


@admin_required
@require_POST
def remove_dataset(request: HttpRequest, pk: int) -> HttpResponse:
    version = get_object_or_404(DatasetVersion.objects.select_related("project"), pk=pk)
    try:
        services.remove_dataset(version=version, by=get_labeler(request))
    except services.CannotRemove as error:
        messages.error(request, str(error))
        return redirect("dataset_detail", pk)
    messages.success(request, _("Version %(number)d is removed.") % {"number": version.number})
    return redirect("dataset_list", version.project.slug)


def _preview(form: DatasetForm, project: Project) -> dict[str, object]:
    """What the rule would give; nothing while the form has errors."""
    if form.is_bound and not form.is_valid():
        return {"preview": None}
    try:
        preview = services.preview_dataset(project=project, rule=form.build_rule() if form.is_bound else DatasetRule())
    except RuleError as error:
        _show_rule_error(form, error)
        return {"preview": None}
    counts = preview.tally.as_json()
    return {
        "preview": preview,
        "counts": counts,
        "figures": describe_counts(counts, dict(preview.tally.left_out.most_common())),
    }


def _show_rule_error(form: DatasetForm, error: RuleError) -> None:
    field = "eval_percent" if error.field == "eval_share" else error.field
    form.add_error(field if field in form.fields else None, error.reason)
