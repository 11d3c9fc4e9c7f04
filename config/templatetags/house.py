"""Filters that pages of every room use."""

from __future__ import annotations

from django import template
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
def percent(share: float | None, digits: int = 0) -> str:
    """A share of 1 as per cent; nothing where there is none."""
    return "" if share is None else _("%(number)s %%") % {"number": f"{100 * share:.{digits}f}"}


@register.filter
def stored_text(text: str) -> str:
    """What a worker or a program said of its work, in the reader's language where it is known."""
    return translate_stored(text, TEXTS) or text


@register.filter
def cause_words(work: LeasedWork) -> dict[str, str]:
    """Why work failed: ``words`` in the reader's language, and ``detail`` where those do not say all that is stored."""
    whole = translate_stored(work.cause, TEXTS)
    if whole or (get_language() or "en").startswith("en"):
        return {"words": whole or work.cause, "detail": ""}
    words = str(CAUSES.get(work.cause_code, ""))
    return {"words": words, "detail": work.cause} if words else {"words": work.cause, "detail": ""}
