"""Pairs with the votes of workers elsewhere, one object a line: the pairs format (pairs.py) and beside it

    "votes": [{"worker": "18034", "winner": "a", "grade": "slightly", "left": "b"}, ...]

``winner`` is "a" (the first response), "b", or null for a vote without a side. ``grade`` may be left out: slightly, or
for a vote without a side, equal. ``left`` is the response that the worker saw on the left, where that is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from annotate.importing.fields import check_text, get_required
from annotate.importing.pairs import parse_pair
from annotate.importing.problems import LineProblem, show_text
from annotate.importing.rows import PairRow
from annotate.importing.strict_json import name_type
from annotate.models import SIDED_GRADES, SIDELESS_GRADES, Grade

MAX_VOTES = 100
MAX_WORKER = 100
"""Characters of a worker's name."""


@dataclass(frozen=True, slots=True)
class WorkerVote:
    """``winner`` and ``left`` are a, b or nothing."""

    worker: str
    winner: str
    grade: str
    left: str


def parse_voted_pair(fields: dict[str, Any]) -> tuple[PairRow, list[WorkerVote]]:
    """Raises LineProblem naming the field."""
    values = get_required(fields, "votes")
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_VOTES:
        raise LineProblem("wrong_type", f"'votes' must be a list of 1 to {MAX_VOTES} votes.", "votes")
    votes = [_read_vote(value, f"votes[{number}]") for number, value in enumerate(values)]
    if len({vote.worker for vote in votes}) < len(votes):
        raise LineProblem("wrong_type", "A worker votes twice on this pair.", "votes")
    return parse_pair({name: value for name, value in fields.items() if name != "votes"}), votes


def _read_vote(value: Any, field: str) -> WorkerVote:
    if not isinstance(value, dict):
        raise LineProblem("wrong_type", f"{field!r} is {name_type(value)}, not a vote.", field)
    worker = get_required(value, "worker")
    worker = check_text(str(worker) if isinstance(worker, int) else worker, f"{field}.worker")
    if len(worker) > MAX_WORKER or not worker.replace("-", "").replace("_", "").isalnum():
        raise LineProblem("wrong_type", f"{field}.worker must be letters, digits, - and _ alone.", f"{field}.worker")
    winner = _choose(value, "winner", field, ("a", "b"))
    grades = SIDED_GRADES if winner else SIDELESS_GRADES
    grade = _choose(value, "grade", field, grades) or (Grade.SLIGHTLY if winner else Grade.EQUAL)
    return WorkerVote(worker, winner, str(grade), _choose(value, "left", field, ("a", "b")))


def _choose(value: dict[str, Any], name: str, field: str, allowed: tuple[str, ...]) -> str:
    """One of the words; nothing where it is missing or null."""
    word = value.get(name)
    if word is None:
        return ""
    if not isinstance(word, str) or word not in allowed:
        shown = show_text(word) if isinstance(word, str) else name_type(word)
        raise LineProblem("wrong_type", f"{field}.{name} is {shown}; it must be one of {', '.join(allowed)}.", field)
    return word
