"""Bodies of API calls: JSON that the rest of the house can hold, or 400 in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import IO, Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.parsers import JSONParser

MAX_DEPTH = 32
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""NUL, which PostgreSQL does not store, and halves of a surrogate pair, which no UTF-8 holds."""


class CheckedJSONParser(JSONParser):
    """As the framework's own, which lets deep nesting and broken texts run into a crash further on."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The value that the body holds. Raises ParseError, and ValidationError naming the field."""
        try:
            value = super().parse(stream, media_type, dict(parser_context or {}))
        except RecursionError:
            raise ParseError(_say_too_deep()) from None
        _check_body(value)
        return value


def _check_body(body: Any) -> None:
    if not isinstance(body, dict):
        if problem := _find_problem(body, MAX_DEPTH):
            raise ParseError(problem)
        return
    for name, value in body.items():
        if problem := _find_problem(name, 0):
            raise ParseError(problem)
        if problem := _find_problem(value, MAX_DEPTH - 1):
            raise ValidationError({name: [problem]})


def _find_problem(value: Any, max_depth: int) -> str:
    """Looks at one level after the other, so that no nesting can exhaust Python's own stack."""
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for one in level:
            if isinstance(one, str) and (found := _UNSTORABLE.search(one)):
                return _("A text holds U+%(code)s, which is no character.") % {"code": f"{ord(found[0]):04X}"}
            if isinstance(one, list | dict) and depth == max_depth:
                return _say_too_deep()
            if isinstance(one, list):
                below += one
            elif isinstance(one, dict):
                below += [*one.keys(), *one.values()]
        level, depth = below, depth + 1
    return ""


def _say_too_deep() -> str:
    return _("Lists and objects are nested more than %d deep.") % MAX_DEPTH
