"""Votes that workers elsewhere cast on pairs, brought in with them: material for statistics and for training.

Workers become accounts that cannot log in. Where a file does not say on which side a worker saw a response, sides are
drawn by a coin and the vote is marked (UNRECORDED_ORDER), so that no figure of position bias counts it.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.importing.rows import WorkerVote
from annotate.models import Assignment, Comparison, Judgment
from annotate.quality.votes import UNRECORDED_ORDER

PREFIX = "worker-"
"""Of the accounts' names."""

_BATCH = 400
_AT_ONCE = 2000
"""Votes in memory."""

Voted = tuple[Comparison, list[WorkerVote]]


class VotesRefused(ValueError):
    """Votes would come into a person's name."""


def list_taken_names() -> set[str]:
    """Names that no worker can have, because an account of a person is called ``worker-`` and this name."""
    accounts = User.objects.filter(username__startswith=PREFIX).iterator()
    return {user.username.removeprefix(PREFIX) for user in accounts if _is_person(user)}


@transaction.atomic
def enter_votes(*, voted: Sequence[Voted], workers: dict[str, int]) -> int:
    """Enters the votes on comparisons that the caller's transaction has just made, and returns how many there are.

    Each comparison needs as many as it gets, so that it is handed out to nobody. ``workers`` are the numbers of the
    accounts found so far, by name; further ones are added. Raises VotesRefused.
    """
    _add_workers(workers, {vote.worker for _comparison, votes in voted for vote in votes})
    now = timezone.now()
    votes = ((comparison, vote) for comparison, votes in voted for vote in votes)
    count = 0
    while batch := list(islice(votes, _AT_ONCE)):
        _store_votes(batch, workers, now)
        count += len(batch)
    ids = iter([comparison.pk for comparison, _votes in voted])
    while some := list(islice(ids, _BATCH)):
        Comparison.objects.filter(pk__in=some).update(taken=F("need"))
    return count


def _add_workers(workers: dict[str, int], names: Iterable[str]) -> None:
    """Finds or makes the accounts. Raises VotesRefused where a person has such a name."""
    usernames = iter(sorted(f"{PREFIX}{name}" for name in set(names) - workers.keys()))
    while batch := list(islice(usernames, _BATCH)):
        nobody = [User(username=username, is_active=False, password=make_password(None)) for username in batch]
        User.objects.bulk_create(nobody, ignore_conflicts=True)
        for user in User.objects.filter(username__in=batch):
            if _is_person(user):
                words = _("%(name)s is the account of a person; votes are not put into their name.")
                raise VotesRefused(words % {"name": user.username})
            workers[user.username.removeprefix(PREFIX)] = user.pk


def _is_person(user: User) -> bool:
    return user.is_active or user.has_usable_password()


def _store_votes(batch: list[tuple[Comparison, WorkerVote]], workers: dict[str, int], now: datetime) -> None:
    assignments = Assignment.objects.bulk_create(
        [_build_assignment(comparison, vote, workers[vote.worker], now) for comparison, vote in batch],
        batch_size=_BATCH,
    )
    Judgment.objects.bulk_create(
        [_build_judgment(assignment, vote) for assignment, (_pair, vote) in zip(assignments, batch, strict=True)],
        batch_size=_BATCH,
    )


def _build_assignment(comparison: Comparison, vote: WorkerVote, worker: int, now: datetime) -> Assignment:
    coin = hashlib.sha256(f"{comparison.pk}:{PREFIX}{vote.worker}".encode()).digest()[0] & 1
    return Assignment(
        comparison=comparison,
        project_id=comparison.project_id,
        labeler_id=worker,
        state=Assignment.State.DONE,
        leased_at=now,
        expires_at=now,
        left_response=vote.left or "ab"[coin],
        seed=0 if vote.left else UNRECORDED_ORDER,
    )


def _build_judgment(assignment: Assignment, vote: WorkerVote) -> Judgment:
    return Judgment(
        assignment=assignment,
        comparison_id=assignment.comparison_id,
        project_id=assignment.project_id,
        labeler_id=assignment.labeler_id,
        action=Judgment.Action.VOTE,
        grade=vote.grade,
        winner=vote.winner,
        side="" if not vote.winner else "left" if vote.winner == assignment.left_response else "right",
        token=uuid.uuid4(),
        shown_at=assignment.leased_at,
        seconds=0.0,
        left_response=assignment.left_response,
        seed=assignment.seed,
    )
