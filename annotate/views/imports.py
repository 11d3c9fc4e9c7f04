"""Pages of imports, for those who lead a project: uploading, the list, and the report that follows itself."""

from __future__ import annotations

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.forms import ImportForm
from annotate.models import Import
from annotate.permissions import get_labeler, get_led_project, require_lead
from annotate.selectors.reports import describe_report
from annotate.services import imports as services
from annotate.services.imports import ImportRefused, start_import
from models_registry import leases

_PER_PAGE = 25


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def show_imports(request: HttpRequest, slug: str) -> HttpResponse:
    project = get_led_project(get_labeler(request), slug)
    form = ImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        values = {name: form.cleaned_data[name] for name in ("format", "on_bad_line")}
        try:
            upload = form.cleaned_data["file"]
            work = start_import(project=project, uploaded_file=upload, by=get_labeler(request), **values)
        except ImportRefused as error:
            form.add_error("file", str(error))
        else:
            return redirect("import_detail", work.pk)
    page = Paginator(project.imports.select_related("created_by"), _PER_PAGE).get_page(request.GET.get("page"))
    context = {"project": project, "form": form, "page": page}
    return render(request, "annotate/import_list.html", context, status=422 if form.errors else 200)


@require_safe
@never_cache
def show_import(request: HttpRequest, pk: int) -> HttpResponse:
    work = _find_import(request, pk)
    template = "annotate/_import_report.html" if request.htmx else "annotate/import_detail.html"  # type: ignore[attr-defined]
    context = {"work": work, "project": work.project, "report": describe_report(work)}
    return render(request, template, context)


@require_POST
def cancel_import(request: HttpRequest, pk: int) -> HttpResponse:
    work = _find_import(request, pk)
    try:
        services.cancel_import(work=work, by=get_labeler(request))
    except leases.CannotCancel as error:
        messages.error(request, str(error))
    return redirect("import_detail", pk)


@require_POST
def retry_import(request: HttpRequest, pk: int) -> HttpResponse:
    work = _find_import(request, pk)
    try:
        services.retry_import(work=work, by=get_labeler(request))
    except leases.CannotRetry as error:
        messages.error(request, str(error))
    return redirect("import_detail", pk)


def _find_import(request: HttpRequest, pk: int) -> Import:
    work = get_object_or_404(Import.objects.select_related("project", "created_by"), pk=pk)
    require_lead(get_labeler(request), work.project)
    return work
