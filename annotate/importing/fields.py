"""Reading one field of a line: its presence, type, size and text."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from annotate.importing.problems import LineProblem, show_text
from annotate.importing.strict_json import name_type

MAX_FIELD_BYTES = 64_000
MAX_ID_CHARACTERS = 150
ROLES = ("system", "user", "assistant")

Message = dict[str, str]


def get_required(fields: dict[str, Any], name: str, inside: str = "") -> Any:
    """The field's value; null counts as missing. ``inside`` names the object within the line that holds it."""
    if fields.get(name) is None:
        field = f"{inside}.{name}" if inside else name
        raise LineProblem("missing_field", f"The field {field!r} is missing.", field)
    return fields[name]


def choose_word(fields: dict[str, Any], name: str, inside: str, allowed: tuple[str, ...]) -> str:
    """One of the words, in the object called ``inside``; nothing where it is missing or null."""
    word = fields.get(name)
    if word is None:
        return ""
    if not isinstance(word, str) or word not in allowed:
        shown = show_text(word) if isinstance(word, str) else name_type(word)
        field = f"{inside}.{name}"
        raise LineProblem("bad_word", f"{field} is {shown}; it must be one of {', '.join(allowed)}.", field)
    return word


def check_text(value: Any, field: str, what: str = "") -> str:
    """The text itself, untouched: not blank, not too long, and such that every database stores it.

    ``what`` names the text in the reason where it is only a part of the field.
    """
    what = what or repr(field)
    if not isinstance(value, str):
        raise LineProblem("wrong_type", f"{what} is {name_type(value)}, not a text.", field)
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError as error:
        reason = f"{what} holds half a surrogate pair at character {error.start + 1}."
        raise LineProblem("lone_surrogate", reason, field) from None
    if size > MAX_FIELD_BYTES:
        raise LineProblem("field_too_long", f"{what} has {size:,} bytes; at most {MAX_FIELD_BYTES:,}.", field)
    if "\x00" in value:
        raise LineProblem("nul_character", f"{what} holds a NUL at character {value.index(chr(0)) + 1}.", field)
    if not value.strip():
        raise LineProblem("empty_text", f"{what} is empty.", field)
    return value


def read_source_id(fields: dict[str, Any]) -> str:
    """The line's own id as text; empty where it has none."""
    value = fields.get("id")
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise LineProblem("wrong_type", f"'id' is {name_type(value)}, neither a text nor a number.", "id")
    text = check_text(str(value), "id")
    if len(text) > MAX_ID_CHARACTERS:
        raise LineProblem("field_too_long", f"'id' has {len(text)} characters; at most {MAX_ID_CHARACTERS}.", "id")
    return text


def read_messages(value: Any, field: str, ignored: set[str]) -> list[Message]:
    """A dialogue: a text is one turn of the user. Names of further fields within messages go to ``ignored``."""
    if isinstance(value, str):
        return [{"role": "user", "content": check_text(value, field)}]
    if not isinstance(value, list):
        raise LineProblem("wrong_type", f"{field!r} is {name_type(value)}, neither a text nor messages.", field)
    if not value:
        raise LineProblem("empty_text", f"{field!r} is an empty list.", field)
    return [_read_message(message, f"{field}[{number}]", number, ignored) for number, message in enumerate(value)]


def read_prompt(value: Any, field: str, ignored: set[str]) -> list[Message]:
    """A dialogue that waits for the assistant: its last turn is the user's."""
    messages = read_messages(value, field, ignored)
    check_last_is_user(messages, field)
    return messages


def check_last_is_user(messages: list[Message], field: str) -> None:
    if not messages or messages[-1]["role"] != "user":
        role = messages[-1]["role"] if messages else "nobody"
        raise LineProblem("last_turn", f"The last turn of {field!r} is the {role}'s; it must be the user's.", field)


def read_response(value: Any, field: str, ignored: set[str]) -> str:
    """A response: a text, or a list with one message of the assistant."""
    if isinstance(value, str):
        return check_text(value, field)
    messages = read_messages(value, field, ignored)
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        reason = f"{field!r} must be one message of the assistant's; it has {len(messages)} messages."
        if len(messages) == 1:
            reason = f"{field!r} is a message of the {messages[0]['role']}'s; it must be the assistant's."
        raise LineProblem("last_turn", reason, field)
    return messages[0]["content"]


def check_different(first: str, second: str, field: str) -> None:
    if first == second:
        raise LineProblem("identical_responses", "Both responses are the same text: nothing to compare.", field)


def has_turns_in_a_row(messages: list[Message]) -> bool:
    """Whether one role speaks twice running, which some chat templates refuse."""
    return any(one["role"] == two["role"] for one, two in pairwise(messages))


def name_unknown(fields: Iterable[str], known: frozenset[str]) -> set[str]:
    """The names of fields that mean nothing here, safe to show. They are not kept; the report counts them."""
    return {show_text(name) for name in fields if name not in known}


def _read_message(value: Any, field: str, number: int, ignored: set[str]) -> Message:
    if not isinstance(value, dict):
        raise LineProblem("wrong_type", f"{field!r} is {name_type(value)}, not a message.", field)
    role = get_required(value, "role") if "role" in value else None
    if not isinstance(role, str) or role not in ROLES:
        shown = show_text(role) if isinstance(role, str) else name_type(role)
        raise LineProblem("bad_role", f"The role of {field!r} is {shown}; it must be one of {', '.join(ROLES)}.", field)
    if role == "system" and number > 0:
        raise LineProblem("bad_role", f"{field!r} is a system message; only the first may be one.", field)
    content = check_text(get_content(value, field), f"{field}.content")
    ignored |= {f"messages[].{name}" for name in name_unknown(value, frozenset({"role", "content"}))}
    return {"role": role, "content": content}


def get_content(message: dict[str, Any], field: str) -> Any:
    if message.get("content") is None:
        raise LineProblem("missing_field", f"{field!r} has no content.", f"{field}.content")
    return message["content"]
