"""Flags: a labeler asks that somebody look at a pair, and keeps it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from annotate.models import AuditAction, Flag, FlagReason, Project
from annotate.services.audit import record
from annotate.services.judgments import find_assignment
from annotate.services.places import lock_labeler


@transaction.atomic
def flag_comparison(*, labeler: User, project: Project, token: UUID, reason: FlagReason, note: str = "") -> Flag:
    """Flags the pair that the labeler holds or judged under this token; the pair stays theirs.

    One open flag for each reason: sent again it changes nothing, or gives it other words. Raises UnknownTokenError.
    Locks the labeler's row.
    """
    lock_labeler(labeler)
    comparison = find_assignment(labeler, project, token).comparison
    words = {"note": note.strip()} if note.strip() else {}
    flag, _created = Flag.objects.update_or_create(
        comparison=comparison, labeler=labeler, reason=reason, resolved_at=None, defaults=words
    )
    return flag


@transaction.atomic
def resolve_flag(*, flag: Flag, by: User, now: datetime | None = None) -> bool:
    """Puts a flag aside as dealt with; False where somebody did before."""
    open_one = Flag.objects.filter(pk=flag.pk, resolved_at=None)
    if not open_one.update(resolved_at=now or timezone.now(), resolved_by=by):
        return False
    comparison = flag.comparison
    what = {"comparison": comparison.pk, "reason": flag.reason}
    record(AuditAction.FLAG_RESOLVED, project=comparison.project, by=by, about=flag, after=what)
    return True
