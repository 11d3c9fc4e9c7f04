"""Pairs with the votes of workers elsewhere, one object a line: the pairs format (pairs.py) and beside it

    "votes": [{"worker": "18034", "winner": "a", "grade": "slightly", "left": "b"}, ...]

``winner`` is "a" (the first response), "b", or null for a vote without a side. ``grade`` may be left out: slightly, or
for a vote without a side, equal. ``left`` is the response that the worker saw on the left, where that is known.
All votes on a pair stand in one line, and none of them on gold, where it would count for nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from annotate.importing.fields import check_text, choose_word, get_required, name_unknown
from annotate.importing.pairs import parse_pair
from annotate.importing.problems import LineProblem
from annotate.importing.rows import PairRow, WorkerVote
from annotate.importing.strict_json import name_type
from annotate.models import SIDED_GRADES, SIDELESS_GRADES, Grade

MAX_VOTES = 100
MAX_WORKER = 100
"""Characters of a worker's name."""

_KNOWN = frozenset({"worker", "winner", "grade", "left"})


def parse_voted_pair(fields: dict[str, Any]) -> PairRow:
    """Raises LineProblem naming the field."""
    values = get_required(fields, "votes")
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_VOTES:
        raise LineProblem("wrong_type", f"'votes' must be a list of 1 to {MAX_VOTES} votes.", "votes")
    ignored: set[str] = set()
    votes = tuple(_read_vote(value, f"votes[{number}]", ignored) for number, value in enumerate(values))
    _check_workers([vote.worker for vote in votes])
    if fields.get("gold") is not None:
        raise LineProblem("two_forms", "'gold' does not go with 'votes': no vote on a gold pair counts.", "gold")
    row = parse_pair({name: value for name, value in fields.items() if name != "votes"})
    return replace(row, votes=votes, ignored=row.ignored | ignored)


def _check_workers(workers: list[str]) -> None:
    for number, worker in enumerate(workers):
        if worker in workers[:number]:
            reason = f"Worker {worker} votes twice on this pair."
            raise LineProblem("votes_twice", reason, f"votes[{number}].worker")


def _read_vote(value: Any, field: str, ignored: set[str]) -> WorkerVote:
    if not isinstance(value, dict):
        raise LineProblem("wrong_type", f"{field!r} is {name_type(value)}, not a vote.", field)
    ignored |= {f"votes[].{name}" for name in name_unknown(value, _KNOWN)}
    worker = _read_worker(get_required(value, "worker", field), f"{field}.worker")
    winner = choose_word(value, "winner", field, ("a", "b"))
    grades = SIDED_GRADES if winner else SIDELESS_GRADES
    grade = choose_word(value, "grade", field, grades) or (Grade.SLIGHTLY if winner else Grade.EQUAL)
    return WorkerVote(worker, winner, str(grade), choose_word(value, "left", field, ("a", "b")))


def _read_worker(value: Any, field: str) -> str:
    worker = check_text(str(value) if isinstance(value, int) and not isinstance(value, bool) else value, field)
    if len(worker) > MAX_WORKER:
        raise LineProblem("field_too_long", f"{field} has {len(worker)} characters; at most {MAX_WORKER}.", field)
    if not worker.replace("-", "").replace("_", "").isalnum():
        raise LineProblem("wrong_type", f"{field} must be letters, digits, - and _ alone.", field)
    return worker
