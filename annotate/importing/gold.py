"""The field by which a pair's line says the known answer, which makes the pair gold::

    "gold": {"winner": "a", "grade": "significantly", "explanation": "The other one is wrong."}

``winner`` is "a" (the first response; the chosen one where there is one), "b", or left out where ``grade`` names no
side: unsure, equal, both_bad. ``explanation``, which may be left out too, is for reviewers.
"""

from __future__ import annotations

from typing import Any

from annotate.importing.fields import check_text, choose_word, get_required, name_unknown
from annotate.importing.problems import LineProblem
from annotate.importing.rows import KnownAnswer
from annotate.importing.strict_json import name_type
from annotate.models import SIDED_GRADES, Grade
from annotate.services.gold import MAX_EXPLANATION

_KNOWN = frozenset({"winner", "grade", "explanation"})


def read_gold(fields: dict[str, Any], ignored: set[str]) -> KnownAnswer | None:
    """None where the line has no such field. Names of further fields within it go to ``ignored``."""
    value = fields.get("gold")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise LineProblem("wrong_type", f"'gold' is {name_type(value)}, not an object with a grade.", "gold")
    ignored |= {f"gold.{name}" for name in name_unknown(value, _KNOWN)}
    get_required(value, "grade", "gold")
    grade = choose_word(value, "grade", "gold", tuple(Grade.values))
    winner = "" if value.get("winner") == "" else choose_word(value, "winner", "gold", ("a", "b"))
    if (grade in SIDED_GRADES) != bool(winner):
        which = "needs a winner, a or b" if grade in SIDED_GRADES else "goes without a winner"
        raise LineProblem("bad_winner", f"The grade {grade} {which}.", "gold.winner")
    return KnownAnswer(winner, grade, _read_explanation(value))


def _read_explanation(value: dict[str, Any]) -> str:
    if value.get("explanation") in (None, ""):
        return ""
    text = check_text(value["explanation"], "gold.explanation")
    if len(text) > MAX_EXPLANATION:
        reason = f"'gold.explanation' has {len(text):,} characters; at most {MAX_EXPLANATION:,}."
        raise LineProblem("field_too_long", reason, "gold.explanation")
    return text
