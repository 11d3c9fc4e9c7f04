"""Pairs in which a response says which model it is: flagged at once, held back until somebody looked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest
from django.utils.translation import gettext as _

from annotate.models import AuditAction, Comparison, Flag, FlagReason, Hold, Project
from annotate.quality.identity import IdentityFinder, get_finder
from annotate.services.audit import record
from annotate.services.flags import resolve_flag
from annotate.services.places import lock_comparisons
from models_registry.models import ModelVersion

_BATCH = 400
_MAX_NOTE = 250


class NotHeldError(Exception):
    """Somebody decided about this pair before, or nobody has to."""


def load_finder() -> IdentityFinder:
    """Finds the well-known names and those of the registry as it is now."""
    return get_finder(tuple(ModelVersion.objects.order_by("name").values_list("name", flat=True)))


def find_leaks(pairs: Iterable[tuple[str, str]]) -> dict[int, str]:
    """Which of the pairs of texts, by their place, hold a response that names its model; with the words found."""
    finder = load_finder()
    found: dict[int, str] = {}
    for number, texts in enumerate(pairs):
        words = [f"{letter}: {leak}" for letter, text in zip("AB", texts, strict=True) if (leak := finder.find(text))]
        if words:
            found[number] = " · ".join(words)[:_MAX_NOTE]
    return found


def flag_leaks(notes: dict[int, str]) -> None:
    """Flags comparisons, by number, in the name of the house; one open flag each."""
    flags = [Flag(comparison_id=pk, reason=FlagReason.IDENTITY, note=note) for pk, note in notes.items()]
    Flag.objects.bulk_create(flags, batch_size=_BATCH, ignore_conflicts=True)


def scan_comparisons(*, project: Project, hold: bool) -> tuple[int, int]:
    """Flags, and where asked holds back, the project's pairs from before; what somebody dealt with stays as it is.

    A pair is held back in all axes of the project; those of an axis are its parent's, who is looked through instead.

    Returns how many pairs were read and how many are new among the flagged. Each batch is a transaction, which locks
    the pairs that it holds back.
    """
    looked_at = Flag.objects.filter(labeler=None, reason=FlagReason.IDENTITY).values("comparison")
    columns = ("pk", "response_a__text", "response_b__text")
    project = project.parent or project
    last = read = flagged = 0
    while rows := list(
        project.comparisons.filter(pk__gt=last).exclude(pk__in=looked_at).order_by("pk").values_list(*columns)[:_BATCH]
    ):
        leaks = {rows[number][0]: note for number, note in find_leaks((a, b) for _pk, a, b in rows).items()}
        with transaction.atomic():
            flag_leaks(leaks)
            if hold:
                free = Comparison.objects.filter(_in_all_axes(leaks), hold=Hold.NONE)
                lock_comparisons(free.values_list("pk", flat=True))
                free.update(hold=Hold.HELD, held_need=F("need"), need=F("taken"))
        last, read, flagged = rows[-1][0], read + len(rows), flagged + len(leaks)
    return read, flagged


@transaction.atomic
def release_comparison(*, comparison: Comparison, by: User) -> None:
    """Lets labelers see a held pair, in all axes. Locks its comparisons. Raises NotHeldError."""
    _decide(comparison, by, AuditAction.PAIR_RELEASED, Hold.NONE, need=Greatest("held_need", "taken"))


@transaction.atomic
def drop_comparison(*, comparison: Comparison, by: User) -> None:
    """Takes a held pair out of the queues for good; votes that it has stay. As release_comparison otherwise."""
    _decide(comparison, by, AuditAction.PAIR_DROPPED, Hold.DROPPED)


def _decide(comparison: Comparison, by: User, action: AuditAction, after: Hold, **fields: Any) -> None:
    held = Comparison.objects.filter(_in_all_axes([comparison.root_id]), hold=Hold.HELD)
    lock_comparisons(held.values_list("pk", flat=True))
    if not held.update(hold=after, held_need=0, **fields):
        raise NotHeldError(_("This pair is not held back, or somebody has decided already."))
    record(action, project=comparison.project, by=by, about=comparison)
    for flag in Flag.objects.filter(
        comparison=comparison.root_id, labeler=None, reason=FlagReason.IDENTITY, resolved_at=None
    ):
        resolve_flag(flag=flag, by=by)


def _in_all_axes(ids: Iterable[int]) -> Q:
    """The comparisons with these numbers and what stands for them in axes."""
    known = list(ids)
    return Q(pk__in=known) | Q(original__in=known)
