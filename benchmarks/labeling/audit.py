"""What labelers were told against what is stored: nothing acknowledged lost, nothing doubled, nothing over-assigned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db.models import Count, F, Q

from annotate.models import Assignment, Comparison, Judgment, Project

_AT_ONCE = 500

Stored = dict[str, tuple[Judgment, bool]]
"""By token; and whether it stands."""


@dataclass
class Log:
    """What one labeler sent, by token, and what of it was acknowledged."""

    labeler: int
    votes: dict[str, str] = field(default_factory=dict)
    """Acknowledged: token to choice."""
    skips: set[str] = field(default_factory=set)
    undone: set[str] = field(default_factory=set)
    """Tokens of acknowledged answers that an acknowledged undo took back."""
    sent: set[str] = field(default_factory=set)
    """Every token that a vote or a skip was ever sent with, acknowledged or not."""


@dataclass(frozen=True)
class Findings:
    """Counts of what must never be. ``places`` counts comparisons."""

    lost: int
    """Acknowledged answers that are not stored, or not as they were given, or do not stand."""
    doubled: int
    """Standing answers of one labeler on one comparison beyond the first, and standing ones that nobody sent."""
    over_assigned: int
    """Comparisons with more places taken, or more standing votes in places, than votes needed."""
    miscounted: int
    """Comparisons whose ``taken`` is not the number of assignments that hold a place."""

    def total(self) -> int:
        return self.lost + self.doubled + self.over_assigned + self.miscounted


def audit(project: Project, logs: Iterable[Log], *, after: int) -> Findings:
    """Reads all judgments of the project with a number above ``after``, and the places of all its comparisons."""
    logs = list(logs)
    said = Judgment.objects.filter(project=project, pk__gt=after).exclude(action=Judgment.Action.UNDO)
    stored: Stored = {
        str(judgment.token): (judgment, judgment.stands)
        for judgment in said.annotate(stands=Q(superseded_by=None)).iterator(chunk_size=_AT_ONCE)
    }
    return Findings(
        lost=sum([_count_lost(log, stored) for log in logs]),
        doubled=_count_doubled(project, logs, stored),
        over_assigned=_count_over_assigned(project),
        miscounted=_count_miscounted(project),
    )


def _count_lost(log: Log, stored: Stored) -> int:
    def is_kept(token: str, action: str, choice: str) -> bool:
        found, stands = stored.get(token, (None, False))
        if found is None or (found.action, found.choice, found.labeler_id) != (action, choice, log.labeler):
            return False
        return stands != (token in log.undone)

    votes = sum(not is_kept(token, Judgment.Action.VOTE, choice) for token, choice in log.votes.items())
    return votes + sum(not is_kept(token, Judgment.Action.SKIP, "") for token in log.skips)


def _count_doubled(project: Project, logs: list[Log], stored: Stored) -> int:
    standing = Judgment.objects.filter(project=project, superseded_by=None).exclude(action=Judgment.Action.UNDO)
    several = standing.values("comparison", "labeler").annotate(number=Count("pk")).filter(number__gt=1)
    sent = {token for log in logs for token in log.sent}
    return sum(int(row["number"]) - 1 for row in several) + len(stored.keys() - sent)


def _count_over_assigned(project: Project) -> int:
    taken = project.comparisons.filter(taken__gt=F("need")).values_list("pk", flat=True)
    in_place = Judgment.objects.filter(
        project=project, superseded_by=None, action=Judgment.Action.VOTE, assignment__holds_place=True
    )
    votes = in_place.values("comparison").annotate(number=Count("pk")).filter(number__gt=F("comparison__need"))
    return len({*taken, *votes.values_list("comparison", flat=True)})


def _count_miscounted(project: Project) -> int:
    rows = Assignment.objects.filter(project=project, holds_place=True).values("comparison").annotate(n=Count("pk"))
    held = Counter({row["comparison"]: row["n"] for row in rows.iterator(chunk_size=_AT_ONCE)})
    taken = Comparison.objects.filter(project=project).values_list("pk", "taken")
    return sum(held[pk] != count for pk, count in taken.iterator(chunk_size=_AT_ONCE))
