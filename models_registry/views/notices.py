"""What a person is told: the bell in the head of every page, the list behind it, and what they want to be told."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from models_registry import notices
from models_registry.models import Notice, NoticeSettings, Topic
from models_registry.notice_forms import NoticeSettingsForm
from models_registry.permissions import get_person

NOTICES_ON_PAGE = 50


@require_safe
@never_cache
def list_notices(request: HttpRequest) -> HttpResponse:
    page = Paginator(notices.list_notices(get_person(request)), NOTICES_ON_PAGE).get_page(request.GET.get("page"))
    rows = [(notice, notices.say(notice)) for notice in page]
    return render(request, "models_registry/notice_list.html", {"page": page, "rows": rows})


@require_safe
@never_cache
def show_bell(request: HttpRequest) -> HttpResponse:
    """The bell alone, asked for by static/js/bell.js while the page is looked at."""
    return render(request, "partials/_bell.html")


@require_POST
def open_notice(request: HttpRequest, pk: int) -> HttpResponse:
    """Marks it read and leads to what it is about."""
    notice = get_object_or_404(Notice, pk=pk, user=get_person(request))
    notices.mark_read(notice.user, notice=notice)
    return redirect(notices.locate(notice))


@require_POST
def mark_all_read(request: HttpRequest) -> HttpResponse:
    notices.mark_read(get_person(request))
    return redirect("notice_list")


@require_http_methods(["GET", "HEAD", "POST"])
def change_settings(request: HttpRequest) -> HttpResponse:
    user = get_person(request)
    form = NoticeSettingsForm(request.POST if request.method == "POST" else None, initial=_read_settings(user))
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        notices.save_settings(user, channels=form.channels, language=values["language"], email=values["email"])
        messages.success(request, _("Saved."))
        return redirect("notice_settings")
    context = {"form": form, "mail_on": settings.MAIL_ON}
    return render(request, "models_registry/notice_settings.html", context, status=422 if form.errors else 200)


def _read_settings(user: User) -> dict[str, str]:
    row = NoticeSettings.objects.filter(user=user).first()
    channels = row.channels if row else {}
    chosen = {topic.value: notices.read_channel(channels, topic) for topic in Topic}
    return chosen | {"email": user.email, "language": row.language if row else get_language() or "en"}
