"""Drafts: what a labeler has begun to say of a pair, so that it stands there in another browser, too.

Each of these takes no row's lock and writes one statement at most. What a project takes as an answer is checked once
it is one; the form and the serializer hold the lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.models import Assignment, Draft, Project
from annotate.services.answers import JudgmentError

KEPT = timedelta(days=14)
"""After its labeler last touched it; as in compare_drafts.js."""


class NoOpenPairError(JudgmentError):
    """No pair that still waits for the labeler's answer goes by this token."""


def save_draft(
    *,
    labeler: User,
    project: Project,
    token: UUID,
    choice: str = "",
    safety: str = "",
    reason_tags: Sequence[str] = (),
    rationale: str = "",
    rewrite: str = "",
    seconds: float | None = None,
    age: float | None = None,
    now: datetime | None = None,
) -> None:
    """Keeps a draft in place of the one before; where nothing is said, none is kept.

    It takes no lease: text typed after the lease ended is kept like the answer that follows. ``age`` are the seconds
    since the labeler last touched it; what they touched earlier never replaces what they touched later, however long
    the request took. Raises NoOpenPairError.
    """
    now = now or timezone.now()
    updated_at = now - timedelta(seconds=min(max(age or 0.0, 0.0), KEPT.total_seconds()))
    mine = Assignment.objects.filter(labeler=labeler, project=project, token=token).exclude(judgments__token=token)
    assignment = mine.only("pk").first()
    if assignment is None:
        raise NoOpenPairError(_("This pair is not yours, or you have answered it."))
    before = Draft.objects.filter(assignment=assignment, token=token).only("updated_at").first()
    if before and before.updated_at > updated_at:
        return
    draft = Draft(
        assignment=assignment,
        token=token,
        choice=choice,
        safety=safety,
        reason_tags=list(reason_tags),
        rationale=rationale,
        rewrite=rewrite,
        seconds=max(seconds or 0.0, 0.0),
        updated_at=updated_at,
    )
    if draft.says_something:
        _store(draft)
    elif before:
        _remove(Draft.objects.filter(pk=before.pk))


def drop_draft(assignment: Assignment) -> None:
    """With the answer, in its transaction."""
    Draft.objects.filter(assignment=assignment).delete()


def drop_old_drafts(*, now: datetime) -> None:
    """Those that nobody came back to; writes nothing where there are none."""
    old = Draft.objects.filter(updated_at__lt=now - KEPT)
    if old.exists():
        _remove(old)


@transaction.atomic
def _remove(drafts: QuerySet[Draft]) -> None:
    drafts.delete()


def _store(draft: Draft) -> None:
    """Adds or replaces in one statement: of two browsers at once, neither fails."""
    changed = [field.name for field in Draft._meta.concrete_fields if field.name not in ("id", "assignment")]
    Draft.objects.bulk_create([draft], update_conflicts=True, unique_fields=["assignment"], update_fields=changed)
