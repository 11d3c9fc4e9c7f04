"""Filters for facts about models."""

from __future__ import annotations

from django import template
from django.contrib.auth.models import User

from models_registry.notices import count_unread

register = template.Library()


@register.filter
def short_count(number: float | None) -> str:
    """A count as model names say it: 134.5 M, 1.2 B; nothing where there is none."""
    if number is None:
        return ""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f} {letter}"
    return str(int(number))


@register.simple_tag
def unread_notices(user: User) -> int:
    """How many things the person has not yet looked at."""
    return count_unread(user)
