"""For admins: the single judgments behind a dataset version, and one comparison with all that was said of it."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from annotate.models import Comparison, DatasetVersion
from annotate.permissions import admin_required
from annotate.selectors import votes as selectors

_PER_PAGE = 50


@admin_required
@require_safe
def show_version_votes(request: HttpRequest, pk: int) -> HttpResponse:
    version = get_object_or_404(DatasetVersion.objects.select_related("project"), pk=pk)
    page = Paginator(selectors.list_version_votes(version), _PER_PAGE).get_page(request.GET.get("page"))
    context = {"version": version, "project": version.project, "page": page}
    return render(request, "annotate/dataset_votes.html", context)


@admin_required
@require_safe
def show_comparison(request: HttpRequest, pk: int) -> HttpResponse:
    related = ("project", "prompt", "response_a__model", "response_b__model", "source_import", "sampling_job")
    comparison = get_object_or_404(Comparison.objects.select_related(*related), pk=pk)
    context = {
        "comparison": comparison,
        "project": comparison.project,
        "origins": selectors.list_origins(comparison),
        "judgments": selectors.list_comparison_judgments(comparison),
        "versions": selectors.list_versions_with(comparison),
    }
    return render(request, "annotate/comparison_detail.html", context)
