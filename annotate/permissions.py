"""Who may do what: admins (``is_staff``) everything, members what their role in a project allows, others nothing.

A project that a person may not see answers 404, so that nobody learns which projects exist.
"""

from __future__ import annotations

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from rest_framework.request import Request

from annotate.models import Membership, Project, Role
from models_registry.permissions import IsAdmin, Person, admin_required, is_admin

__all__ = [
    "IsAdmin",
    "admin_required",
    "can_label",
    "can_lead",
    "can_review",
    "get_labeler",
    "get_led_project",
    "get_project_or_404",
    "is_admin",
    "projects_for",
    "require_lead",
    "require_review",
]


def can_label(user: Person, project: Project) -> bool:
    """Whether the person may compare in this project: its members and every admin."""
    return projects_for(user).filter(pk=project.pk).exists()


def can_review(user: Person, project: Project) -> bool:
    """Whether the person sees the votes and flags of this project: its reviewers, leads and every admin."""
    return _has_role(user, project, Role.REVIEWER, Role.LEAD)


def can_lead(user: Person, project: Project) -> bool:
    """Whether the person changes settings and members of this project: its leads and every admin."""
    return _has_role(user, project, Role.LEAD)


def require_review(user: Person, project: Project) -> None:
    """Raises Http404 where the person may not see the project, PermissionDenied where they may but do not review."""
    if not can_review(user, project):
        raise _deny(user, project)


def require_lead(user: Person, project: Project) -> None:
    """Raises Http404 where the person may not see the project, PermissionDenied where they may but do not lead."""
    if not can_lead(user, project):
        raise _deny(user, project)


def _has_role(user: Person, project: Project, *roles: Role) -> bool:
    if is_admin(user):
        return True
    return user.is_active and Membership.objects.filter(user__pk=user.pk, project=project, role__in=roles).exists()


def _deny(user: Person, project: Project) -> Exception:
    if can_label(user, project):
        return PermissionDenied(_("Your role in this project does not allow this."))
    return Http404()


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


def get_led_project(user: Person, slug: str) -> Project:
    """The project, if this person leads it; Http404 and PermissionDenied as require_lead says."""
    project = get_project_or_404(user, slug)
    require_lead(user, project)
    return project


def get_labeler(request: HttpRequest | Request) -> User:
    """The signed-in person; PermissionDenied where there is none, so that no view can forget to ask."""
    if not isinstance(request.user, User):
        raise PermissionDenied(_("Please sign in first."))
    return request.user
