"""The house's own pages: the start page, accounts, and words for what went wrong."""

from __future__ import annotations

import logging
import secrets
import sys
from datetime import timedelta
from typing import cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe
from knox.models import get_token_model
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0

from annotate.permissions import admin_required
from config import people
from config.doctor import check_store_answers, find_hindrance
from config.forms import PersonForm, TokenForm
from config.metrics import write_exposition
from config.overview import describe_house
from models_registry.disk import is_disk_full

log = logging.getLogger(__name__)

# By GET, as when the language is switched on a refused form, these lead to the page that holds the form.
take_form = require_http_methods(["GET", "HEAD", "POST"])

RETRY_FULL_DISK_S = 120


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """A labeler's projects; for an admin the state of the whole loop."""
    user = cast(User, request.user)
    return render(request, "config/home.html", {"house": describe_house(user)})


@login_not_required
@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """For load balancers and `make run`: the web server answers and so does the database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return JsonResponse({"status": "ok"})


@login_not_required
@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """For load balancers: 503 while this process can serve nobody, as before its migrations ran or on a full disk.

    Which of them it is stands in the log and in `manage.py doctor`: the world need not know paths and versions.
    An object store that is ``away`` stops no labeler.
    """
    if hindrance := find_hindrance():
        log.warning("not ready: %s: %s", hindrance.subject, hindrance.text)
        return JsonResponse({"status": "not ready", "subject": hindrance.subject}, status=503)
    away = [finding.subject for finding in check_store_answers()]
    return JsonResponse({"status": "ready"} | ({"away": away} if away else {}))


@login_not_required
@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """For Prometheus, which shows METRICS_TOKEN; no person's session or token opens it. Not there when none is set."""
    if not settings.METRICS_TOKEN:
        raise Http404
    shown = request.headers.get("Authorization", "").encode()
    if not secrets.compare_digest(shown, f"Bearer {settings.METRICS_TOKEN}".encode()):
        asked = {"WWW-Authenticate": "Bearer"}
        return HttpResponse("METRICS_TOKEN is wanted.\n", status=401, headers=asked, content_type="text/plain")
    return HttpResponse(write_exposition(), content_type=CONTENT_TYPE_PLAIN_1_0_0)


@login_not_required
@require_GET
def explain_invitation(request: HttpRequest) -> HttpResponse:
    return render(request, "account/signup_closed.html")


@require_safe
@never_cache
def account(request: HttpRequest) -> HttpResponse:
    """Your tokens; a new one is shown by the first GET after it was made, and then no more."""
    return _show_account(request, TokenForm(), new_token=_take_secret(request, "new_token"))


@take_form
@never_cache
@sensitive_variables("token")
def create_token(request: HttpRequest) -> HttpResponse:
    form = TokenForm(request.POST)
    if request.method == "POST" and not form.is_valid():
        return _show_account(request, form, status=422)
    if request.method == "POST":
        expiry = timedelta(days=form.cleaned_data["days"])
        _instance, token = get_token_model().objects.create(cast(User, request.user), expiry=expiry)
        request.session["new_token"] = token
    return redirect("account")


@require_POST
def revoke_token(request: HttpRequest, digest_start: str) -> HttpResponse:
    user = cast(User, request.user)
    get_object_or_404(get_token_model(), user=user, token_key=digest_start).delete()
    messages.success(request, _("The token no longer works."))
    return redirect("account")


@admin_required
@require_safe
@never_cache
def list_people(request: HttpRequest) -> HttpResponse:
    """The accounts; a new password is shown by the first GET after it was made, and then no more."""
    return _show_people(request, PersonForm(), new_password=_take_secret(request, "new_password"))


@admin_required
@take_form
@never_cache
@sensitive_variables("password")
def add_person(request: HttpRequest) -> HttpResponse:
    form = PersonForm(request.POST)
    if request.method != "POST":
        return redirect("person_list")
    if form.is_valid():
        try:
            person, password = people.add_person(**form.cleaned_data)
        except people.PeopleError as error:
            form.add_error("username", str(error))
        else:
            request.session["new_password"] = [person.username, password]
            return redirect("person_list")
    return _show_people(request, form, status=422)


@admin_required
@require_POST
@sensitive_variables("password")
def reset_password(request: HttpRequest, person_id: int) -> HttpResponse:
    person = get_object_or_404(User, pk=person_id)
    try:
        password = people.give_new_password(user=person, by=cast(User, request.user))
    except people.PeopleError as error:
        messages.error(request, str(error))
    else:
        request.session["new_password"] = [person.username, password]
    return redirect("person_list")


@admin_required
@require_POST
def set_active(request: HttpRequest, person_id: int) -> HttpResponse:
    """Opens (``active=1``) or closes (``active=0``) an account; any other value is refused, never taken for a no."""
    person = get_object_or_404(User, pk=person_id)
    wanted = {"0": False, "1": True}.get(request.POST.get("active", ""))
    if wanted is None:
        return explain(request, 400, _("Say whether the account is to be open: 0 or 1."))
    try:
        people.set_active(user=person, active=wanted, by=cast(User, request.user))
    except people.PeopleError as error:
        messages.error(request, str(error))
    return redirect("person_list")


def _show_account(
    request: HttpRequest, form: TokenForm, *, new_token: object = None, status: int = 200
) -> HttpResponse:
    tokens = get_token_model().objects.filter(user=cast(User, request.user)).order_by("-created")
    context = {"tokens": tokens, "form": form, "new_token": new_token}
    return render(request, "config/account.html", context, status=status)


def _show_people(
    request: HttpRequest, form: PersonForm, *, new_password: object = None, status: int = 200
) -> HttpResponse:
    users = User.objects.prefetch_related("projects").order_by("-is_active", "username")
    context = {"people": users, "form": form, "new_password": new_password}
    return render(request, "config/people.html", context, status=status)


def _take_secret(request: HttpRequest, name: str) -> object:
    """What was kept in the session to be shown once; HEAD shows nothing, so it leaves it there."""
    return request.session.pop(name, None) if request.method == "GET" else None


@login_not_required
def explain_forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return explain(request, 403, _("This page is not for your account."))


@login_not_required
def explain_missing(request: HttpRequest, exception: Exception) -> HttpResponse:
    return explain(request, 404, _("There is nothing at this address, or it is not for your account."))


@login_not_required
def explain_csrf(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that was opened before its reader signed in anew carries the token of the old session."""
    words = _("This form is from before you last signed in. Go back, reload the page, and send it again.")
    return explain(request, 403, words)


@login_not_required
def explain_crash(request: HttpRequest) -> HttpResponse:
    """Django calls this while it handles the exception, whichever layer raised it: a view, a session, an upload."""
    if is_disk_full(sys.exception()):
        return _explain_full_disk(request)
    words = _("Something broke on our side. What you submitted before is safe; the log on the server tells more.")
    return explain(request, 500, words)


def _explain_full_disk(request: HttpRequest) -> HttpResponse:
    words = _("The server's disk is full, so nothing can be saved now.")
    advice = _(
        "Whoever runs the server must free some space where its data lies; then send this again. What was saved before "
        "is safe."
    )
    answer = explain(request, 503, words, advice)
    answer["Retry-After"] = str(RETRY_FULL_DISK_S)
    return answer


def explain(request: HttpRequest, code: int, words: str, advice: str = "") -> HttpResponse:
    """A page that says what went wrong; a line of text for htmx, which page.js shows, and JSON for callers of the API.

    ``advice`` says what to do, where the words alone do not.
    """
    line = f"{words} {advice}".strip()
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": line}, status=code)
    if "HX-Request" in request.headers:
        return HttpResponse(line, status=code, content_type="text/plain; charset=utf-8")
    return render(request, "error.html", {"code": code, "words": words, "advice": advice}, status=code)
