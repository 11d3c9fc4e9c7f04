"""The stream of pairs that a labeler gets: what comes next, and why it was chosen.

Whatever the kind of a turn, nothing that the labeler can see may tell it from an ordinary one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.contrib.auth.models import User
from django.utils import timezone

from annotate.models import Assignment, Comparison, Project
from annotate.selectors.progress import get_open_comparisons
from annotate.selectors.tape import Plan, read_plan
from annotate.services.places import take_next_comparison

_SPREAD = 4
"""Next open pairs for each other labeler at work, among which one is foreseen: two seldom foresee the same."""


@dataclass(frozen=True)
class Turn:
    """A pair for one labeler. Its place is taken already where its kind takes one."""

    comparison: Comparison
    kind: Assignment.Kind = Assignment.Kind.ORDINARY
    propensity: float = 1.0
    """Probability with which it was drawn; 1 where the queue left no choice."""


def draw_turn(project: Project, labeler: User, now: datetime, foreseen: int | None = None) -> Turn | None:
    """What this labeler gets next; None where there is nothing left for them. Of ordinary pairs ``foreseen`` first.

    First the gold by which they qualify, then ordinary pairs, with gold and repeats mixed in as long as ordinary ones
    are left. Call it in a transaction that holds the labeler's lock and no comparison's; locks the comparison whose
    place it takes.
    """
    plan = read_plan(project, labeler, now)
    if plan and (kind := _find_kind(project, labeler, plan)):
        return _draw_from(plan, kind)
    comparison = take_next_comparison(project, labeler, foreseen)
    chance = 1.0 - sum(plan.chances.values()) if plan else 1.0
    return Turn(comparison, propensity=chance) if comparison else None


def foresee_turn(project: Project, labeler: User, token: UUID) -> Turn | None:
    """What draw_turn will give once the pair under ``token`` is answered, if nobody is faster. Locks and takes nothing.

    Gold and repeats must be foreseen as such: a pair that gives way to one would tell it. Where others work, each
    labeler looks at another of the next open pairs, and at the same one if asked again.
    """
    plan = read_plan(project, labeler, timezone.now())
    if plan and (kind := _find_kind(project, labeler, plan)):
        return _draw_from(plan, kind)
    # By their end, not by project: that index holds leases alone; SQLite would read all assignments of a project.
    leases = Assignment.objects.filter(state=Assignment.State.LEASED, expires_at__gt=timezone.now())
    at_work = leases.values_list("project_id", "labeler_id")
    others = sum(where == project.pk and who != labeler.pk for where, who in at_work)
    reach = token.int % (_SPREAD * others + 1)
    # From the index alone: with many at work these are hundreds of rows.
    first = list(get_open_comparisons(project, labeler).values_list("pk", "priority")[: reach + 1])
    alike = [pk for pk, priority in first if priority == first[0][1]]
    comparison = Comparison.objects.filter(pk=alike[-1]).first() if alike else None
    return Turn(comparison) if comparison else None


def _find_kind(project: Project, labeler: User, plan: Plan) -> Assignment.Kind | None:
    """What kind the next turn is; None for an ordinary one. Said while a pair is held, it holds once judged."""
    if plan.owed:
        return Assignment.Kind.QUALIFICATION
    kind = plan.find_next()
    is_ordinary = kind == Assignment.Kind.ORDINARY
    return None if is_ordinary or not get_open_comparisons(project, labeler).exists() else kind


def _draw_from(plan: Plan, kind: Assignment.Kind) -> Turn | None:
    """One of the plan's pairs, each as likely as the other."""
    pool = plan.repeats if kind == Assignment.Kind.REPEAT else plan.pool
    chance = plan.chances.get(kind, 1.0)
    return Turn(Comparison.objects.get(pk=plan.choose(pool)), kind, chance / len(pool)) if pool else None
