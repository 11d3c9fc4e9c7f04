"""Who runs the house: admins (``is_staff``). Only they see the registry; other rooms ask here too."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

Person = AbstractBaseUser | AnonymousUser
P = ParamSpec("P")
R = TypeVar("R", bound=HttpResponseBase)


def is_admin(user: Person) -> bool:
    """Whether the person runs the house: sees all projects, data, runs and models."""
    return bool(user.is_active and getattr(user, "is_staff", False))


def get_person(request: HttpRequest | Request) -> User:
    """Whoever is signed in; PermissionDenied where nobody is."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def get_admin(request: HttpRequest | Request) -> User:
    """The signed-in admin; PermissionDenied where it is somebody else."""
    user = request.user
    if not (isinstance(user, User) and is_admin(user)):
        raise PermissionDenied(_("This page is for admins."))
    return user


def admin_required(
    view: Callable[Concatenate[HttpRequest, P], R],
) -> Callable[Concatenate[HttpRequest, P], R]:
    """A page for admins alone; asked before anything is looked up, so a labeler's 403 tells nothing about ids."""

    @wraps(view)
    def check_then_view(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> R:
        get_admin(request)
        return view(request, *args, **kwargs)

    return check_then_view


class IsAdmin(BasePermission):
    """API routes for admins alone."""

    message = "This route is for admins."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return is_admin(request.user)
