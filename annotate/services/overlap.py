"""How many votes a pair gets: one more while those that it has disagree, up to the project's maximum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from math import comb
from operator import itemgetter

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet

from annotate.models import Assignment, Comparison, Grade, Hold, Judgment, Project
from annotate.selectors.counted import select_counted
from annotate.services.places import lock_comparisons

_BATCH = 500
"""Pairs reopened in one transaction."""


def is_settled(answers: Iterable[str], certainty: float) -> bool:
    """Whether one more vote would be of little use: all agree, or most say the same with enough certainty.

    ``answers`` are what the votes say: a, b, equal, both_bad; the unsure abstain and are not among them. With w votes
    for the leading answer and l for all others, and a uniform prior on the share of labelers who would give it, the
    posterior is Beta(w + 1, l + 1); settled where the probability that it lies above 1/2 reaches ``certainty``.
    """
    counts = Counter(answers)
    if len(counts) < 2:
        return True
    return measure_certainty(max(counts.values()), counts.total()) >= certainty


def measure_certainty(won: int, votes: int) -> float:
    """P(p > 1/2) for p of Beta(won + 1, votes - won + 1): the binomial tail P(X <= won) of votes + 1 fair coins."""
    return float(sum(comb(votes + 1, k) for k in range(won + 1)) / 2 ** (votes + 1))


def raise_need(project: Project, comparison_id: int) -> bool:
    """Asks for one more vote where the pair has all it needs and they disagree; call it after each vote.

    Places stay as they are, so ``taken`` stays within ``need``. An undo lowers nothing. Locks the comparison, so that
    of two last votes the later one sees both.
    """
    if project.max_votes is None:
        return False
    lock_comparisons([comparison_id])
    full = _select_complete(project).filter(pk=comparison_id)
    leased = Assignment.objects.filter(comparison=comparison_id, state=Assignment.State.LEASED, holds_place=True)
    if not full.exists() or leased.exists():
        return False
    if is_settled(_read_answers(comparison_id), project.settled_at):
        return False
    return full.update(need=F("need") + 1) == 1


def reopen_unsettled(project: Project) -> int:
    """Asks for one more vote on every complete pair that the project's present rule does not settle; says on how many.

    For a rule that has changed. A transaction for each batch, so that labelers go on; run again it asks for nothing
    twice, since a pair that waits for a vote is not complete.
    """
    if project.max_votes is None:
        return 0
    waiting = Assignment.objects.filter(comparison=OuterRef("pk"), state=Assignment.State.LEASED, holds_place=True)
    complete = _select_complete(project).filter(~Exists(waiting))
    said = standing_answers().filter(project=project, comparison__in=complete.filter(need__gt=1))
    rows = said.order_by("comparison").values_list("comparison", "winner", "grade").iterator()
    unsettled = [
        comparison
        for comparison, votes in groupby(rows, key=itemgetter(0))
        if not is_settled([winner or grade for _comparison, winner, grade in votes], project.settled_at)
    ]
    reopened = 0
    for start in range(0, len(unsettled), _BATCH):
        batch = unsettled[start : start + _BATCH]
        with transaction.atomic():
            lock_comparisons(batch)
            reopened += complete.filter(pk__in=batch).update(need=F("need") + 1)
    return reopened


def _select_complete(project: Project) -> QuerySet[Comparison]:
    """Pairs that have all the votes they ask for and may ask for more; nobody's decision, hold or gold among them."""
    full = Comparison.objects.filter(project=project, taken=F("need"), need__lt=project.max_votes)
    return full.filter(adjudications=None, hold=Hold.NONE, gold=None)


def standing_answers() -> QuerySet[Judgment]:
    """Votes that count and say something: the unsure abstain."""
    return select_counted().exclude(grade=Grade.UNSURE)


def _read_answers(comparison_id: int) -> list[str]:
    said = standing_answers().filter(comparison=comparison_id).values_list("winner", "grade")
    return [winner or grade for winner, grade in said]
