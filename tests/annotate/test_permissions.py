"""Who sees which project; the routes themselves are held by tests/test_permission_matrix.py."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.test import RequestFactory

from annotate.models import Project
from annotate.permissions import admin_required, can_label, get_project_or_404, projects_for


def test_members_and_admins_see_the_project(project: Project, labeler: User, admin: User) -> None:
    assert get_project_or_404(labeler, project.slug) == project
    assert get_project_or_404(admin, project.slug) == project
    assert can_label(labeler, project)
    assert can_label(admin, project)


def test_others_learn_nothing_of_it(project: Project, outsider: User) -> None:
    for user in (outsider, AnonymousUser()):
        assert not projects_for(user).exists()
        assert not can_label(user, project)
        with pytest.raises(Http404):
            get_project_or_404(user, project.slug)


def test_an_admin_who_left_sees_nothing(project: Project, admin: User) -> None:
    admin.is_active = False
    assert not projects_for(admin).exists()
    assert not can_label(admin, project)


def test_pages_for_admins_refuse_labelers(rf: RequestFactory, labeler: User, admin: User) -> None:
    @admin_required
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse("the plan")

    request = rf.get("/")
    request.user = admin
    assert page(request).content == b"the plan"
    request.user = labeler
    with pytest.raises(PermissionDenied):
        page(request)
