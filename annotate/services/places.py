"""Places of a comparison: ``taken`` counts the assignments that hold one and never exceeds ``need``.

Locks are taken in one order everywhere, so that no two transactions wait for each other: the labeler's row, then
assignments, then comparisons by rising number. On SQLite every transaction is alone (see config/sqlite/base.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Case, F, When

from annotate.models import Assignment, Comparison, Hold, Project
from annotate.selectors.progress import get_open_comparisons

REAP_AT_ONCE = 50
"""Leases ended in one transaction: a bound on how long it holds its locks."""


def lock_labeler(labeler: User) -> None:
    """Puts one person's requests in a row: two tabs, a double click and a late retry never cross."""
    User.objects.select_for_update(no_key=True).only("pk").get(pk=labeler.pk)


def lock_comparisons(ids: Iterable[int]) -> None:
    """Locks comparisons by rising number; needed before places of more than one change."""
    list(Comparison.objects.select_for_update(no_key=True).filter(pk__in=set(ids)).order_by("pk").values_list("pk"))


def take_place(comparison_id: int) -> bool:
    """Takes a place by compare-and-swap; False where all are taken."""
    open_ones = Comparison.objects.filter(pk=comparison_id, taken__lt=F("need"))
    return open_ones.update(taken=F("taken") + 1) == 1


def free_places(comparison_id: int, count: int = 1) -> None:
    """Gives places back that the caller's assignments held until this transaction; on a held pair none opens."""
    need = Case(When(hold=Hold.NONE, then=F("need")), default=F("need") - count)
    Comparison.objects.filter(pk=comparison_id).update(taken=F("taken") - count, need=need)


def reap_expired(*, now: datetime) -> int:
    """Ends up to REAP_AT_ONCE leases whose time is over and frees their places; returns how many it ended.

    A transaction of its own, and none at all where nothing has expired. Leases that another request is just ending are
    left to it.
    """
    over = Assignment.objects.filter(state=Assignment.State.LEASED, expires_at__lt=now)
    if not over.exists():
        return 0
    with transaction.atomic():
        rows = list(over.select_for_update(skip_locked=True, no_key=True).order_by("expires_at")[:REAP_AT_ONCE])
        held = Counter(row.comparison_id for row in rows if row.holds_place)
        Assignment.objects.filter(pk__in=[row.pk for row in rows]).update(
            state=Assignment.State.EXPIRED, holds_place=False
        )
        lock_comparisons(held)
        for comparison_id, count in sorted(held.items()):
            free_places(comparison_id, count)
    return len(rows)


def take_next_comparison(project: Project, labeler: User, foreseen: int | None = None) -> Comparison | None:
    """Takes a place of the first open comparison and returns it; None where there is nothing left for this labeler.

    The ``foreseen`` one counts as the first while it is open.

    Comparisons that others are just taking are passed over. If only such are left, this waits for the first of them:
    it may still have a place. Call it in a transaction that holds the labeler's lock and no comparison's.
    """
    open_ones = get_open_comparisons(project, labeler)
    free = open_ones.select_for_update(of=("self",), skip_locked=True, no_key=True)
    row = (free.filter(pk=foreseen).first() if foreseen else None) or free.first()
    while row is None and (comparison_id := open_ones.values_list("pk", flat=True).first()):
        row = open_ones.select_for_update(of=("self",), no_key=True).filter(pk=comparison_id).first()
    return row if row is not None and take_place(row.pk) else None
