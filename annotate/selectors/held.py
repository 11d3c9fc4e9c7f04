"""Pairs that are held back from labelers until a reviewer has decided."""

from __future__ import annotations

from django.db.models import Prefetch, QuerySet

from annotate.models import Comparison, Flag, Hold, Project


def count_held(project: Project) -> int:
    return project.comparisons.filter(hold=Hold.HELD).count()


def list_held(project: Project) -> QuerySet[Comparison]:
    """The oldest first, each with its ``open_flags``; in an axis those of its pair in the project."""
    open_flags = Flag.objects.filter(resolved_at=None).select_related("labeler").order_by("pk")
    held = Comparison.objects.filter(project=project, hold=Hold.HELD).select_related("prompt").order_by("pk")
    flags_of = "original__flags" if project.parent_id else "flags"
    return held.prefetch_related(Prefetch(flags_of, open_flags, to_attr="open_flags"))
