"""How far a project's labeling is, for one labeler and for all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery

from annotate.models import Assignment, Comparison, Judgment, Project
from annotate.selectors.tape import read_plan
from annotate.selectors.totals import Totals, count_totals, get_totals, keep

_LOOK_AHEAD = 500
"""Fewer pairs than these that wait for a labeler of a large project are counted one by one."""
_REACH_KEPT_S = 30
"""What others take of so many pairs shows that much later at the least: it is counted for each labeler anew."""
_AT_ONCE = 10


@dataclass(frozen=True)
class Progress:
    """Votes of the labeler that stand; pairs left for them, the one they hold included; votes of all and the need.

    Gold and repeats that the labeler met or will meet count as any other pair, so that no figure moves otherwise.
    """

    done_by_me: int
    left_for_me: int
    done: int
    needed: int


def measure_progress(project: Project, labeler: User) -> Progress:
    """A few counts from indexes; every page and reply of the compare room asks for them.

    In a large project what others do shows a little later, see totals.py.
    """
    mine = Assignment.objects.filter(project=project, labeler=labeler).exclude(state=Assignment.State.EXPIRED)
    # Of "*", not of a column: then the index is all that is read.
    met = list(mine.order_by().values_list("state", "kind").annotate(count=Count("*")))
    extra = [row for row in met if row[1] != Assignment.Kind.ORDINARY]
    totals, waiting, gold = count_waiting(project, labeler, met=_sum(met))
    # Kept totals stand still from one answer to the next: nothing must move beside them.
    exact = not totals.kept_s
    return Progress(
        done_by_me=_sum(met, Assignment.State.DONE),
        left_for_me=waiting + _sum(met, Assignment.State.LEASED),
        done=totals.done + exact * _sum(extra, Assignment.State.DONE),
        needed=totals.needed + exact * (_sum(extra) + gold),
    )


def _sum(rows: Iterable[tuple[str, str, int]], state: str = "") -> int:
    return sum(count for found, _kind, count in rows if found == (state or found))


def count_waiting(project: Project, labeler: User, *, met: int) -> tuple[Totals, int, int]:
    """The project's totals, the pairs that wait for this labeler, who met so many others, and the gold among them.

    Exact where few or none are left, however large the project. Else their own turns count at once and what others take
    later: a turn hardly changes the sum of what waits and what was met, and it is the sum that is kept.
    """
    totals = get_totals(project)
    if project.archived_at:
        return totals, 0, 0
    plan = read_plan(project, labeler)

    def count_gold(ordinary: int) -> int:
        return plan.count_ahead(ordinary) if plan else 0

    if not totals.kept_s:
        ordinary = _count_open(project, labeler, totals)
        return totals, ordinary + count_gold(ordinary), count_gold(ordinary)
    few = get_open_comparisons(project, labeler)[:_LOOK_AHEAD].count()
    if few < _LOOK_AHEAD:
        return (totals if few else count_totals(project)), few + count_gold(few), count_gold(few)

    def count_reach() -> int:
        ordinary = _count_open(project, labeler, totals)
        return ordinary + count_gold(ordinary) + met

    reach = keep(f"reach:{project.pk}:{labeler.pk}", count_reach, lambda _reach: max(totals.kept_s, _REACH_KEPT_S))
    return totals, max(reach - met, few), 0


def _count_open(project: Project, labeler: User, totals: Totals) -> int:
    """Much cheaper than counting get_open_comparisons, which looks each of thousands up among the labeler's.

    Each comparison is looked up by its key: as a join, PostgreSQL would walk all comparisons of the project.
    """
    met = Assignment.objects.filter(project=project, labeler=labeler).exclude(state=Assignment.State.EXPIRED)
    met = met.exclude(kind=Assignment.Kind.REPEAT)
    is_open = Comparison.objects.filter(pk=OuterRef("comparison")).values(is_open=Q(taken__lt=F("need")))
    return totals.open - met.annotate(is_open=Subquery(is_open)).filter(is_open=True).count()


def find_undoable(project: Project, labeler: User) -> Judgment | None:
    """The labeler's last vote or skip that stands: what an undo would take back.

    A few rows at a time: asked for the last standing one, PostgreSQL reads all that the labeler ever said.
    """
    answers = Judgment.objects.filter(labeler=labeler, project=project).exclude(action=Judgment.Action.UNDO)
    answers = answers.order_by("-id").annotate(stands=~Exists(Judgment.objects.filter(supersedes=OuterRef("pk"))))
    rows = list(answers[:_AT_ONCE])
    while rows:
        for row in rows:
            if row.stands:
                return row
        rows = list(answers.filter(pk__lt=rows[-1].pk)[:_AT_ONCE])
    return None


def get_open_comparisons(project: Project, labeler: User) -> QuerySet[Comparison]:
    """Comparisons with a free place that this labeler neither judged nor skipped nor holds; most urgent first."""
    mine = Assignment.objects.filter(comparison=OuterRef("pk"), labeler=labeler).exclude(state=Assignment.State.EXPIRED)
    mine = mine.exclude(kind=Assignment.Kind.REPEAT)
    return Comparison.objects.filter(~Exists(mine), project=project, taken__lt=F("need")).order_by("-priority", "id")
