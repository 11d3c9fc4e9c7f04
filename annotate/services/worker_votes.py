"""Bringing in pairs that workers elsewhere have judged, with their votes: material for statistics and for training.

Workers become accounts that cannot log in. Where a file does not say on which side a worker saw a response, sides are
drawn by a coin and the vote is marked (UNRECORDED_ORDER), so that no figure of position bias counts it.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from annotate.importing.lines import read_lines, strip_mark
from annotate.importing.problems import LineProblem
from annotate.importing.rows import PairRow, key_pair
from annotate.importing.strict_json import parse_object
from annotate.importing.votes import WorkerVote, parse_voted_pair
from annotate.models import Assignment, Comparison, Judgment, Project
from annotate.quality.votes import UNRECORDED_ORDER
from annotate.services.comparisons import NewResponse, create_comparison, explain_axis
from annotate.services.prompts import get_or_create_prompt

PREFIX = "worker-"
"""Of the accounts' names."""


class VotesRefused(ValueError):
    """Nothing was brought in; the text names line, field and reason."""


@dataclass(frozen=True)
class Brought:
    comparisons: int
    votes: int
    workers: int
    duplicates: int
    """Lines whose pair was in the project already: left out."""


@transaction.atomic
def import_votes(*, project: Project, path: Path) -> Brought:
    """All lines or none. Locks the project's row. Raises VotesRefused, FileProblem and OSError."""
    if project.parent_id:
        raise VotesRefused(explain_axis())
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    known = {
        key_pair(*texts)
        for texts in project.comparisons.values_list("prompt__digest", "response_a__text", "response_b__text")
    }
    workers: dict[str, User] = {}
    comparisons = votes = duplicates = 0
    for number, (row, said) in _read_rows(path):
        if row.key in known:
            duplicates += 1
            continue
        known.add(row.key)
        comparison = _enter_pair(project, row, f"{path.name}, line {number}", len(said))
        for vote in said:
            _enter_vote(comparison, _find_worker(vote.worker, workers), vote)
        comparisons, votes = comparisons + 1, votes + len(said)
    return Brought(comparisons, votes, len(workers), duplicates)


def _read_rows(path: Path) -> list[tuple[int, tuple[PairRow, list[WorkerVote]]]]:
    rows = []
    for number, line in read_lines(path):
        if line is not None and number == 1:
            line = strip_mark(line)[0]
        if line is not None and not line.strip():
            continue
        try:
            if line is None:
                raise LineProblem("line_too_long", "The line is too long.")
            rows.append((number, parse_voted_pair(parse_object(line))))
        except LineProblem as problem:
            raise VotesRefused(f"Line {number}: {problem.reason}") from None
    if not rows:
        raise VotesRefused("The file holds no line.")
    return rows


def _find_worker(name: str, workers: dict[str, User]) -> User:
    """The worker's account, made where it is missing. Raises VotesRefused where a person has that name."""
    if name not in workers:
        user, _created = User.objects.get_or_create(
            username=f"{PREFIX}{name}", defaults={"is_active": False, "password": "!"}
        )
        if user.is_active or user.has_usable_password():
            raise VotesRefused(f"{user.username} is the account of a person; votes are not put into their name.")
        workers[name] = user
    return workers[name]


def _enter_pair(project: Project, row: PairRow, origin: str, votes: int) -> Comparison:
    """A comparison whose every place is taken, so that it is handed out to nobody: nothing is left to hold back."""
    prompt, _created = get_or_create_prompt(project=project, messages=row.messages)
    first, second = NewResponse(row.first, origin=origin[:200]), NewResponse(row.second, origin=origin[:200])
    comparison = create_comparison(
        project=project,
        prompt=prompt,
        response_a=first,
        response_b=second,
        recorded_winner=row.winner,
        need=votes,
        may_hold=False,
    )
    Comparison.objects.filter(pk=comparison.pk).update(taken=votes)
    return comparison


def _enter_vote(comparison: Comparison, worker: User, vote: WorkerVote) -> None:
    now = timezone.now()
    coin = hashlib.sha256(f"{comparison.pk}:{worker.username}".encode()).digest()[0] & 1
    shown = {"left_response": vote.left or "ab"[coin], "seed": 0 if vote.left else UNRECORDED_ORDER}
    assignment = Assignment.objects.create(
        comparison=comparison,
        project_id=comparison.project_id,
        labeler=worker,
        state=Assignment.State.DONE,
        leased_at=now,
        expires_at=now,
        **shown,
    )
    Judgment.objects.create(
        assignment=assignment,
        comparison=comparison,
        project_id=comparison.project_id,
        labeler=worker,
        action=Judgment.Action.VOTE,
        grade=vote.grade,
        winner=vote.winner,
        side="" if not vote.winner else "left" if vote.winner == shown["left_response"] else "right",
        token=uuid.uuid4(),
        shown_at=now,
        seconds=0.0,
        **shown,
    )
