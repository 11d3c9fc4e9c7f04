"""Only admins (``is_staff``) see the registry. This room imports nothing of the others, so it asks by itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from rest_framework.request import Request

P = ParamSpec("P")


def get_admin(request: HttpRequest | Request) -> User:
    """The signed-in admin; PermissionDenied where it is somebody else."""
    user = request.user
    if not (isinstance(user, User) and user.is_active and user.is_staff):
        raise PermissionDenied(_("This page is for admins."))
    return user


def admin_page(
    view: Callable[Concatenate[HttpRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """A page for admins alone; asked before anything is looked up."""

    @wraps(view)
    def check_then_view(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        get_admin(request)
        return view(request, *args, **kwargs)

    return check_then_view
