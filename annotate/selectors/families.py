"""What a labeler sees of the axes beside the one at which they work."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import F, Q

from annotate.models import Assignment, Comparison, Project
from annotate.permissions import projects_for
from annotate.selectors.progress import measure_progress


@dataclass(frozen=True)
class Tab:
    """An axis to switch to; ``left`` pairs wait there for the labeler."""

    project: Project
    left: int
    is_current: bool


def list_tabs(project: Project, labeler: User) -> list[Tab]:
    """The family's axes at which this labeler may work, the parent first; none where there is no other one."""
    family = projects_for(labeler).filter(Q(pk=project.root_id) | Q(parent=project.root_id))
    family = family.filter(Q(archived_at=None) | Q(pk=project.pk)).order_by(F("parent").asc(nulls_first=True), "pk")
    axes = list(family)
    if len(axes) < 2:
        return []
    return [Tab(axis, measure_progress(axis, labeler).left_for_me, axis.pk == project.pk) for axis in axes]


def find_same_pair(project: Project, labeler: User, token: UUID) -> int | None:
    """This axis's own number of a pair that was handed to the labeler on another one; None for any other token.

    Only what they met, and by its token: a pair's number would tell gold, and let them pick.
    """
    met = Assignment.objects.filter(labeler=labeler, token=token).select_related("comparison__project").first()
    if met is None or met.comparison.project.root_id != project.root_id:
        return None
    root = met.comparison.root_id
    same = Comparison.objects.filter(Q(pk=root) | Q(original=root), project=project)
    return same.values_list("pk", flat=True).first()
