"""Who may do what: admins (``is_staff``) everything, labelers what their projects ask of them, others nothing.

A project that a person may not see answers 404, so that nobody learns which projects exist.
"""

from __future__ import annotations

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from rest_framework.request import Request

from annotate.models import Project
from models_registry.permissions import IsAdmin, Person, admin_required, is_admin

__all__ = ["IsAdmin", "admin_required", "can_label", "get_labeler", "get_project_or_404", "is_admin", "projects_for"]


def can_label(user: Person, project: Project) -> bool:
    """Whether the person may compare in this project: its members and every admin."""
    return projects_for(user).filter(pk=project.pk).exists()


def projects_for(user: Person) -> QuerySet[Project]:
    """All projects for an admin, the ones of their memberships for a labeler, none for anybody else."""
    if is_admin(user):
        return Project.objects.all()
    if user.pk is None:
        return Project.objects.none()
    return Project.objects.filter(memberships__user__pk=user.pk)


def get_project_or_404(user: Person, slug: str) -> Project:
    """The project, if this person may see it; Http404 where it is missing or somebody else's."""
    return get_object_or_404(projects_for(user), slug=slug)


def get_labeler(request: HttpRequest | Request) -> User:
    """The signed-in person; PermissionDenied where there is none, so that no view can forget to ask."""
    if not isinstance(request.user, User):
        raise PermissionDenied(_("Please sign in first."))
    return request.user
