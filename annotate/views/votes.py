"""The single judgments behind a dataset version, and one comparison with all that was said of it."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from annotate.models import Comparison, DatasetVersion, Flag, GoldAnswer
from annotate.permissions import can_lead, get_labeler, get_project_or_404, require_lead, require_review
from annotate.selectors import votes as selectors
from annotate.selectors.blindness import WHY, find_silent, is_held_back
from annotate.selectors.held import list_held
from annotate.services.flags import resolve_flag
from annotate.services.identity import NotHeldError, drop_comparison, release_comparison

_PER_PAGE = 50


@require_safe
def show_version_votes(request: HttpRequest, pk: int) -> HttpResponse:
    version = get_object_or_404(DatasetVersion.objects.select_related("project"), pk=pk)
    require_lead(get_labeler(request), version.project)
    page = Paginator(selectors.list_version_votes(version), _PER_PAGE).get_page(request.GET.get("page"))
    context = {"version": version, "project": version.project, "page": page}
    return render(request, "annotate/dataset_votes.html", context)


@require_safe
def show_comparison(request: HttpRequest, pk: int) -> HttpResponse:
    related = ("project", "prompt", "response_a__model", "response_b__model", "source_import", "sampling_job")
    comparison = get_object_or_404(Comparison.objects.select_related(*related), pk=pk)
    user = get_labeler(request)
    require_review(user, comparison.project)
    held_back = is_held_back(comparison, user)
    flags = comparison.flags.select_related("labeler", "resolved_by").order_by("pk")
    context = {
        "comparison": comparison,
        "shows_sources": can_lead(user, comparison.project),
        "project": comparison.project,
        "origins": selectors.list_origins(comparison),
        "held_back": WHY if held_back else "",
        "flags": flags.filter(labeler=None) if held_back else flags,
    }
    if not held_back:
        context |= {
            "judgments": selectors.list_comparison_judgments(comparison),
            "versions": selectors.list_versions_with(comparison),
            "gold": GoldAnswer.objects.filter(comparison=comparison).first(),
        }
    return render(request, "annotate/comparison_detail.html", context)


@require_safe
def show_held(request: HttpRequest, slug: str) -> HttpResponse:
    user = get_labeler(request)
    project = get_project_or_404(user, slug)
    require_review(user, project)
    page = Paginator(list_held(project), _PER_PAGE).get_page(request.GET.get("page"))
    context = {"project": project, "page": page, "silent": find_silent(project, user, list(page))}
    return render(request, "annotate/held_list.html", context)


@require_POST
def release(request: HttpRequest, pk: int) -> HttpResponse:
    return _decide_hold(request, pk, release_comparison)


@require_POST
def drop(request: HttpRequest, pk: int) -> HttpResponse:
    return _decide_hold(request, pk, drop_comparison)


def _decide_hold(request: HttpRequest, pk: int, decide: Callable[..., None]) -> HttpResponse:
    comparison = get_object_or_404(Comparison.objects.select_related("project"), pk=pk)
    user = get_labeler(request)
    require_review(user, comparison.project)
    try:
        decide(comparison=comparison, by=user)
    except NotHeldError as error:
        messages.error(request, str(error))
    return redirect("held_list", comparison.project.slug)


@require_POST
def resolve(request: HttpRequest, pk: int) -> HttpResponse:
    flag = get_object_or_404(Flag.objects.select_related("comparison__project"), pk=pk)
    user = get_labeler(request)
    require_review(user, flag.comparison.project)
    resolve_flag(flag=flag, by=user)
    return redirect("comparison_detail", flag.comparison_id)
