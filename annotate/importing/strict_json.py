"""One line of JSON, read strictly: what the standard library lets pass silently is a problem here."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from annotate.importing.problems import LineProblem, show_text

MAX_DEPTH = 32
MAX_DIGITS = 18
"""Of a whole number: what every database holds. Python itself would fail at 4,300, and slow down before."""

# A whole string at once (possessive, so linear even on a line of backslashes), or one bracket.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)


def parse_object(line: bytes) -> dict[str, Any]:
    """The object that the line holds. Raises LineProblem."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LineProblem("not_utf8", f"Byte {error.start + 1} of the line is not UTF-8.") from None
    _check_depth(line)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise LineProblem("not_json", f"Not JSON at character {error.pos + 1}: {error.msg}.") from None
    if not isinstance(value, dict):
        raise LineProblem("not_object", f"The line holds {name_type(value)}, not an object of fields.")
    return value


def name_type(value: Any) -> str:
    """What JSON calls a value of this type, with an article."""
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "null")


def _check_depth(line: bytes) -> None:
    depth = 0
    for token in _TOKENS.finditer(line):
        first = token[0][:1]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise LineProblem("too_deep", f"Lists and objects are nested more than {MAX_DEPTH} deep.")
        elif first in b"]}":
            depth -= 1


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _value in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise LineProblem("duplicate_key", f"The field {show_text(twice)!r} stands there twice.", show_text(twice))
    return fields


def _parse_whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise LineProblem("number_too_long", f"A number has {len(digits)} digits; at most {MAX_DIGITS}.")
    return int(digits)


def _parse_fraction(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise LineProblem("number_not_finite", f"The number {show_text(digits, 20)} is beyond what a computer holds.")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise LineProblem("number_not_finite", f"{name} is not JSON.")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_build_object,
    parse_int=_parse_whole,
    parse_float=_parse_fraction,
    parse_constant=_refuse_constant,
)
