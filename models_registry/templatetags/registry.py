"""Filters for facts about models."""

from __future__ import annotations

from typing import Any

from django import template

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


@register.simple_tag(takes_context=True)
def unread_notices(context: dict[str, Any]) -> int:
    """How many things the person has not yet looked at; not asked where pair follows on pair (bell.js does later)."""
    request = context["request"]
    at_the_desk = request.resolver_match is not None and request.resolver_match.url_name == "compare"
    return 0 if at_the_desk else count_unread(request.user)
