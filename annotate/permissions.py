"""Who may do what: admins (``is_staff``) everything, labelers what their projects ask of them, others nothing.

A project that a person may not see answers 404, so that nobody learns which projects exist.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from annotate.models import Project

Person = AbstractBaseUser | AnonymousUser
P = ParamSpec("P")
R = TypeVar("R", bound=HttpResponseBase)


def is_admin(user: Person) -> bool:
    """Whether the person runs the house: sees all projects, data, runs and models."""
    return bool(user.is_active and getattr(user, "is_staff", False))


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


def admin_required(
    view: Callable[Concatenate[HttpRequest, P], R],
) -> Callable[Concatenate[HttpRequest, P], R]:
    """A page for admins alone; asked before anything is looked up, so a labeler's 403 tells nothing about ids."""

    @wraps(view)
    def check_then_view(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if not is_admin(request.user):
            raise PermissionDenied(_("This page is for admins."))
        return view(request, *args, **kwargs)

    return check_then_view


class IsAdmin(BasePermission):
    """API routes for admins alone."""

    message = "This route is for admins."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return is_admin(request.user)
