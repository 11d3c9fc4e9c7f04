"""Filters and tags that pages of every room use."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from annotate import stored_texts as annotate_texts
from models_registry import stored_texts as registry_texts
from models_registry.models import LeasedWork
from models_registry.stored_texts import translate_stored
from training import engine_texts

register = template.Library()

_ROOMS = (registry_texts, annotate_texts, engine_texts)
TEXTS = tuple(dict.fromkeys(text for room in _ROOMS for text in room.TEXTS))
CAUSES = {code: words for room in _ROOMS for code, words in room.CAUSES.items()}


@register.filter
def duration(seconds: float | int | None) -> str:
    """Seconds as a person says them: 42 s, 3 min 20 s, 2 h 5 min."""
    if seconds is None:
        return ""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes}
    if minutes:
        return _("%(minutes)d min %(seconds)d s") % {"minutes": minutes, "seconds": rest}
    return _("%(seconds)d s") % {"seconds": whole}


@register.filter
def moment(when: datetime | None) -> str:
    """Day and minute as a ``<time>``, whose title says them in full and with the time zone."""
    return _mark_time(when, "SHORT_DATETIME_FORMAT")


@register.filter
def day(when: datetime | None) -> str:
    """The day as a ``<time>``, whose title says the minute too, with the time zone."""
    return _mark_time(when, "SHORT_DATE_FORMAT")


@register.simple_tag
def time_zone() -> str:
    """The zone in which all times are shown, with its present distance from UTC: Asia/Seoul (UTC+09:00)."""
    name, offset = timezone.get_current_timezone_name(), _name_offset(timezone.localtime())
    return name if name == offset else f"{name} ({offset})"


@register.filter
def percent(share: float | None, digits: int = 0) -> str:
    """A share of 1 as per cent; nothing where there is none."""
    return "" if share is None else _("%(number)s %%") % {"number": f"{100 * share:.{digits}f}"}


@register.filter
def stored_text(text: str) -> str:
    """What a worker or a program said of its work, in the reader's language where it is known."""
    return translate_stored(text, TEXTS) or text


@register.filter
def code_words(code: str) -> str:
    """The words of a cause's code; nothing where it has none."""
    return str(CAUSES.get(code, ""))


@register.filter
def cause_words(work: LeasedWork) -> dict[str, str]:
    """Why work failed: ``words`` in the reader's language, and ``detail`` where those do not say all that is stored."""
    whole = translate_stored(work.cause, TEXTS)
    if whole or (get_language() or "en").startswith("en"):
        return {"words": whole or work.cause, "detail": ""}
    words = str(CAUSES.get(work.cause_code, ""))
    return {"words": words, "detail": work.cause} if words else {"words": work.cause, "detail": ""}


def _mark_time(when: datetime | None, format: str) -> str:
    if when is None:
        return ""
    local = timezone.localtime(when)
    full = f"{date_format(local, 'DATETIME_FORMAT')} {_name_offset(local)}"
    iso = local.isoformat(timespec="seconds")
    return format_html('<time datetime="{}" title="{}">{}</time>', iso, full, date_format(local, format))


def _name_offset(local: datetime) -> str:
    offset = local.isoformat()[-6:]
    return "UTC" if offset == "+00:00" else f"UTC{offset}"
