"""How far a project's labeling is, for one labeler and for all."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.models import Exists, F, OuterRef, QuerySet, Sum

from annotate.models import Assignment, Comparison, Judgment, Project


@dataclass(frozen=True)
class Progress:
    """Votes of the labeler that stand; pairs left for them, the one they hold included; votes of all and the need."""

    done_by_me: int
    left_for_me: int
    done: int
    needed: int


def measure_progress(project: Project, labeler: User) -> Progress:
    """A few counts from indexes; every page of the compare room asks for them."""
    mine = Assignment.objects.filter(project=project, labeler=labeler)
    held = mine.filter(state=Assignment.State.LEASED).count()
    # Much cheaper than counting get_open_comparisons, which looks each of thousands up among the labeler's.
    open_ones = project.comparisons.filter(taken__lt=F("need")).count()
    seen = mine.exclude(state=Assignment.State.EXPIRED).filter(comparison__taken__lt=F("comparison__need")).count()
    return Progress(
        done_by_me=mine.filter(state=Assignment.State.DONE).count(),
        left_for_me=open_ones - seen + held,
        done=Assignment.objects.filter(project=project, state=Assignment.State.DONE, holds_place=True).count(),
        needed=project.comparisons.aggregate(total=Sum("need"))["total"] or 0,
    )


def find_undoable(project: Project, labeler: User) -> Judgment | None:
    """The labeler's last vote or skip that stands: what an undo would take back."""
    answers = Judgment.objects.filter(labeler=labeler, project=project, superseded_by=None)
    return answers.exclude(action=Judgment.Action.UNDO).order_by("-id").first()


def get_open_comparisons(project: Project, labeler: User) -> QuerySet[Comparison]:
    """Comparisons with a free place that this labeler neither judged nor skipped nor holds; most urgent first."""
    mine = Assignment.objects.filter(comparison=OuterRef("pk"), labeler=labeler).exclude(state=Assignment.State.EXPIRED)
    return Comparison.objects.filter(~Exists(mine), project=project, taken__lt=F("need")).order_by("-priority", "id")
