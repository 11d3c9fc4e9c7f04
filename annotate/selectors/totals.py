"""Sums over all comparisons and votes of a project. Of a large one they are kept for a while.

Every page and reply of the compare room shows them, and counting a million rows takes longer than all the rest of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from django.core.cache import cache
from django.db.models import Count, F, Sum

from annotate.models import Assignment, Project

EXACT_UP_TO = 1_000
"""Comparisons of a project that is counted anew each time."""
_KEPT_S_PER_COMPARISON = 1 / 10_000
"""So that counting takes about a hundredth of the time, however large the project: a million are counted each 100 s."""
_COUNTING_S = 60
_DAY_S = 24 * 3600

Counted = TypeVar("Counted")


@dataclass(frozen=True)
class Totals:
    """Comparisons and those with a free place; votes in places and votes needed."""

    comparisons: int
    open: int
    done: int
    needed: int

    @property
    def kept_s(self) -> float:
        """Seconds for which figures of this project may be shown before they are counted again."""
        return self.comparisons * _KEPT_S_PER_COMPARISON if self.comparisons > EXACT_UP_TO else 0.0


def get_totals(project: Project) -> Totals:
    """Exact for a small project; of a large one not older than ``kept_s`` and the counting itself."""
    return keep(f"totals:{project.pk}", lambda: count_totals(project), lambda totals: totals.kept_s)


def count_totals(project: Project) -> Totals:
    """By counting; all of it from indexes."""
    every = project.comparisons.aggregate(number=Count("pk"), needed=Sum("need"))
    return Totals(
        comparisons=every["number"],
        open=project.comparisons.filter(taken__lt=F("need")).count(),
        done=Assignment.objects.filter(project=project, state=Assignment.State.DONE, holds_place=True).count(),
        needed=every["needed"] or 0,
    )


def keep(key: str, count: Callable[[], Counted], kept_s: Callable[[Counted], float]) -> Counted:
    """What was counted under this key, or counts it; kept for as many seconds as ``kept_s`` says, not at all for 0.

    When the time is over one asker counts anew, and the others get the old figures until it is done.
    """
    found: tuple[Counted, float] | None = cache.get(key)
    if found and (time.time() < found[1] or not cache.add(f"{key}:counting", True, _COUNTING_S)):
        return found[0]
    counted = count()
    if seconds := kept_s(counted):
        cache.set(key, (counted, time.time() + seconds), _DAY_S)
    elif found:
        cache.delete(key)
    if found:
        cache.delete(f"{key}:counting")
    return counted
