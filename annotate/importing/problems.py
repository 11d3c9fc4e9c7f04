"""What can be wrong with a line or a file, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

PROBLEM_LABELS: dict[str, _StrPromise] = {
    # the line
    "line_too_long": _("line too long"),
    "not_utf8": _("not UTF-8"),
    "not_json": _("not JSON"),
    "not_object": _("not a JSON object"),
    "too_deep": _("nested too deeply"),
    "duplicate_key": _("the same field twice"),
    "number_not_finite": _("a number that is none (NaN, infinity)"),
    "number_too_long": _("a number with too many digits"),
    # its fields
    "missing_field": _("a field is missing"),
    "wrong_type": _("a field of the wrong type"),
    "two_forms": _("two ways of naming the responses at once"),
    "empty_text": _("an empty text"),
    "field_too_long": _("a text too long"),
    "nul_character": _("a NUL character"),
    "lone_surrogate": _("half a surrogate pair"),
    "bad_role": _("an unknown or misplaced role"),
    "bad_winner": _("an unknown winner"),
    "bad_word": _("a word that is none of those allowed"),
    "votes_twice": _("two votes of one worker"),
    "duplicate_id": _("an id used before"),
    # the dialogue
    "no_dialogue": _("not a dialogue of Human and Assistant turns"),
    "last_turn": _("the dialogue ends with the wrong turn"),
    "prompts_differ": _("the two dialogues differ before the last reply"),
    "identical_responses": _("both responses are the same"),
    # beside the pair
    "claims_differ": _("the same pair as before, with another known answer or other votes"),
    "not_offered": _("a known answer that this project does not offer"),
    "gold_leaks": _("a known answer to a pair that this project would hold back"),
    "worker_is_person": _("a worker with the name of somebody's account"),
}
"""Code of a line's problem: its name on the report page."""

FILE_PROBLEM_LABELS: dict[str, _StrPromise] = {
    "file_too_large": _("The file is too large."),
    "gzip_ratio": _("The file is packed suspiciously tightly."),
    "gzip_damaged": _("The compressed file is damaged or cut short."),
    "not_utf8_file": _("The file is not UTF-8."),
    "too_many_rows": _("The file holds too many rows for this database."),
    "no_rows": _("The file holds no usable line."),
    "bad_lines": _("Some lines are bad, and this import was to take all lines or none."),
}
"""Code of a problem that ends the whole import."""

NOTE_LABELS: dict[str, _StrPromise] = {
    "byte_order_mark": _("byte order mark at the start of the file, dropped"),
    "merged_turns": _("dialogues with two turns of one speaker in a row, joined by a blank line"),
    "turns_in_a_row": _("dialogues with two turns of one speaker in a row, kept as they are"),
}
"""Code of something worth knowing that keeps no line out."""


class LineProblem(Exception):
    """This line cannot enter. ``field`` is empty where the whole line is meant."""

    def __init__(self, code: str, reason: str, field: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.field = field


class FileProblem(Exception):
    """The file as a whole cannot be read any further."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def show_text(value: str, limit: int = 60) -> str:
    """A piece of foreign text, safe to store and to print: escapes for what no database takes, cut at ``limit``."""
    plain = value.encode("utf-8", "backslashreplace").decode("utf-8")
    shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in plain[: limit + 1])
    return shown if len(shown) <= limit else shown[:limit] + "…"
