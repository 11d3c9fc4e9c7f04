"""Axes: further questions about a project's comparisons, each a project of its own with the same pairs."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext as _

from annotate.models import Assignment, Comparison, Membership, Project
from annotate.selectors.families import find_same_pair
from annotate.selectors.progress import get_open_comparisons
from annotate.services.comparisons import mirror_comparisons
from annotate.services.judgments import is_ordinary, return_pair
from annotate.services.places import lock_labeler
from annotate.services.projects import ProjectError, check_axis, create_project, name_axis

_OWN = ("id", "name", "slug", "parent", "axis", "question", "guidelines", "asks_safety", "created_by", "created_at")
"""What an axis does not take over from its parent's settings."""


@transaction.atomic
def add_axis(
    *, parent: Project, axis: str, question: str, guidelines: str = "", asks_safety: bool = False, by: User
) -> Project:
    """An axis with the parent's members, other settings and comparisons, those that exist and those to come.

    Nothing that was said in the parent counts in it, winners of imported files neither. Raises ProjectError. Locks the
    parent's row, as those who bring comparisons in do; labelers go on.
    """
    parent = Project.objects.select_for_update(no_key=True).get(pk=parent.pk)
    if parent.parent_id:
        raise ProjectError("axis", _("An axis has no axes of its own; add one to its project."))
    taken_over = {
        field.attname: getattr(parent, field.attname)
        for field in Project._meta.concrete_fields
        if field.name not in _OWN
    }
    new = Project(
        **taken_over,
        name=name_axis(parent, axis),
        parent=parent,
        axis=axis,
        question=question,
        guidelines=guidelines,
        asks_safety=asks_safety,
    )
    check_axis(new)
    create_project(project=new, by=by)
    members = Membership.objects.filter(project=parent).values_list("user_id", "role")
    Membership.objects.bulk_create(Membership(project=new, user_id=user, role=role) for user, role in members)
    mirror_comparisons(new, Comparison.objects.filter(project=parent))
    return new


@transaction.atomic
def follow_pair(*, labeler: User, project: Project, token: UUID) -> int | None:
    """What to hand out on this axis to a labeler who comes from the pair under ``token`` on another; else None.

    It is a wish alone: next_comparison decides. So that it can come true, an ordinary pair that the labeler holds here
    goes back, but only where the wished one is open to them. Locks the labeler's row, the assignment, its comparison.
    """
    lock_labeler(labeler)
    wished = None if project.archived_at else find_same_pair(project, labeler, token)
    if wished is None or not get_open_comparisons(project, labeler).filter(pk=wished).exists():
        return None
    held = Assignment.objects.select_for_update(no_key=True).filter(
        labeler=labeler, project=project, state=Assignment.State.LEASED
    )
    for assignment in held:
        if is_ordinary(assignment):
            return_pair(assignment)
    return wished
