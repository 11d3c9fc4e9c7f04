"""The page on which a reward model compares policies with each other."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotate.permissions import admin_required
from models_registry.models import ModelKind
from models_registry.selectors import list_models
from training import win_rates


@admin_required
@require_safe
@never_cache
def show_win_rates(request: HttpRequest, pk: int) -> HttpResponse:
    """By the reward model ``pk``, in ``?project=`` (its slug), else where it scored last."""
    judge = get_object_or_404(list_models().filter(kind=ModelKind.REWARD), pk=pk)
    projects = win_rates.list_sampled_projects()
    asked = request.GET.get("project")
    project = get_object_or_404(projects, slug=asked) if asked else win_rates.find_judged_project(judge)
    found = win_rates.get_win_rates(project=project, judge=judge) if project else None
    context = {"judge": judge, "projects": projects, "project": project, "win_rates": found}
    return render(request, "training/win_rates.html", context)
