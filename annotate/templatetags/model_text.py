"""``{% load model_text %}`` for pages that show what people or models wrote."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString

from annotate.rendering import render_text, show_plainly

register = template.Library()


@register.filter
def model_text(text: str) -> SafeString:
    """{{ response|model_text }}: safe markup inside an element of class ``model-text``."""
    return render_text(text)


@register.filter
def to_the_letter(text: str) -> SafeString:
    """{{ prompt|to_the_letter }}: the characters themselves, hidden ones marked."""
    return show_plainly(text)
