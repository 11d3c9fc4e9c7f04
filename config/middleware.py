"""What every request passes besides Django's own: where a login leads back to, addresses of nothing, wrong methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils.translation import gettext as _

from config.views import explain


class LeadBackToPages(LoginRequiredMiddleware):
    """Deny by default, as Django's own; but after a form was sent the login leads back to the form's page.

    The address that a form is sent to often answers nothing else, so leading there would be a dead end.
    """

    def handle_no_permission(self, request: HttpRequest, view_func: Callable[..., Any]) -> HttpResponseRedirect:
        if request.method in ("GET", "HEAD"):
            return super().handle_no_permission(request, view_func)
        return redirect_to_login(find_page_before(request) or resolve_url("home"), resolve_url(settings.LOGIN_URL))


class RefuseImpossibleNames:
    """404 for an address with a number or text that no row can have, so that no database is asked for it.

    SQLite breaks where a relation or a list is asked for a number above its highest, PostgreSQL where a text has a NUL.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: list[Any], names: dict[str, Any]
    ) -> None:
        for value in names.values():
            if (isinstance(value, int) and value > _HIGHEST_ROW) or (isinstance(value, str) and "\0" in value):
                raise Http404


_HIGHEST_ROW = 2**63 - 1


def find_page_before(request: HttpRequest) -> str:
    """Path and query of the page of ours that the request came from; empty where it came from elsewhere."""
    try:
        before = urlsplit(request.headers.get("referer", ""))
    except ValueError:  # no address at all
        return ""
    is_ours = (before.scheme, before.netloc) == (request.scheme, request.get_host())
    if not is_ours or not before.path.startswith("/") or before.path.startswith("//"):
        return ""
    return before._replace(scheme="", netloc="", fragment="").geturl()


def explain_wrong_method(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Gives the empty answer to a wrong method (405) a page."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if not isinstance(response, HttpResponseNotAllowed) or request.path.startswith("/api/"):
            return response
        page = explain(request, 405, _("This address only takes what a form sends, so there is no page to show here."))
        page["Allow"] = response["Allow"]
        return page

    return answer
