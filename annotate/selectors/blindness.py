"""Which pairs a reviewer must not know the votes on yet: those that wait for them, and that they have not answered.

Everything that shows votes, flags, decisions or known answers to reviewers asks here first.
"""

from __future__ import annotations

from collections.abc import Collection

from django.contrib.auth.models import User
from django.utils.translation import gettext_lazy as _

from annotate.models import Assignment, BlindAnswer, Comparison, Project
from annotate.permissions import can_lead
from annotate.selectors.counted import select_counted
from annotate.selectors.review_queue import Kind, Wanted, list_rows

WHY = _("This pair waits for your own answer. Once you have given it, you see what others said.")


def is_held_back(comparison: Comparison, reviewer: User) -> bool:
    """Whether what others said of the pair is kept from this reviewer for now."""
    return bool(find_held_back(comparison.project, reviewer, [comparison.pk]))


def find_held_back(project: Project, reviewer: User, pairs: Collection[int]) -> set[int]:
    """Those of the pairs of which the reviewer may not learn what others said; a few queries, however many they are.

    They stand in the queue of review, or the reviewer holds them to compare, and they have not answered them. Nothing
    is kept from those who lead the project: they see votes elsewhere, in its datasets and on labelers' pages.
    """
    if not pairs or can_lead(reviewer, project):
        return set()
    held = Assignment.objects.filter(comparison__in=pairs, labeler=reviewer, state=Assignment.State.LEASED)
    waiting = set(held.values_list("comparison", flat=True))
    wanted = Wanted(among=tuple(pairs))
    for kind in Kind:
        waiting |= {row["comparison"] for row in list_rows(project, kind, wanted)}
    blind = BlindAnswer.objects.filter(comparison__in=waiting, reviewer=reviewer)
    votes = select_counted(with_gold=True).filter(comparison__in=waiting, labeler=reviewer)
    return waiting - {*blind.values_list("comparison", flat=True), *votes.values_list("comparison", flat=True)}


def find_silent(project: Project, reviewer: User, pairs: Collection[Comparison]) -> set[int]:
    """Those of a project's held pairs on which labelers' flags are kept from this reviewer.

    An axis shows the flags of its parent's pairs, on which votes may be kept back there.
    """
    silent = find_held_back(project, reviewer, [pair.pk for pair in pairs])
    if project.parent and not can_lead(reviewer, project):
        roots = find_held_back(project.parent, reviewer, [pair.root_id for pair in pairs])
        silent |= {pair.pk for pair in pairs if pair.root_id in roots}
    return silent
