"""One labeler's page in a project: for themself, and for those who lead it."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotate.models import Project
from annotate.permissions import can_review, get_labeler, get_project_or_404, require_lead
from annotate.selectors.labelers import LEAST_VOTES, count_uncounted, describe_labeler, list_recent, measure_gold
from annotate.selectors.projects import list_judges


@require_safe
@never_cache
def show_labeler(request: HttpRequest, slug: str, user_id: int) -> HttpResponse:
    viewer = get_labeler(request)
    project, person = find_labeler(viewer, slug, user_id)
    context = {
        "project": project,
        "figures": describe_labeler(project, person, for_themself=person == viewer),
        "recent": list_recent(project, person),
        "is_own": person == viewer,
        "uncounted": 0 if person == viewer else count_uncounted(project, person),
        "gold": None if person == viewer else measure_gold(project, person),
        "links_pairs": can_review(viewer, project),
        "least_votes": LEAST_VOTES,
    }
    return render(request, "annotate/labeler_detail.html", context)


def find_labeler(viewer: User, slug: str, user_id: int) -> tuple[Project, User]:
    """The project and the person, where they are the viewer or the viewer leads the project.

    Raises PermissionDenied for anybody else's number, whether there is such an account or not, and Http404.
    """
    project = get_project_or_404(viewer, slug)
    if viewer.pk == user_id:
        return project, viewer
    require_lead(viewer, project)
    return project, get_object_or_404(list_judges(project), pk=user_id)
