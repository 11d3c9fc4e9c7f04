"""What labelers say of pairs: vote, skip, undo. Rows are only ever added; a new one supersedes the one before.

A token stands for one answer. The same answer sent twice is stored once; a second, different one is a conflict. An
answer that comes after its lease ended takes a place again if one is free, else it is stored as surplus: it is never
turned away.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.models import Assignment, Choice, Judgment, Project, SkipReason
from annotate.selectors.progress import find_undoable
from annotate.services.assignments import get_expiry, load_assignment
from annotate.services.places import free_places, lock_comparisons, lock_labeler, take_place

MAX_NOTE = 250
"""Characters of a skip's own words."""


class JudgmentError(Exception):
    """An answer that cannot be taken; the text says why, for the labeler to read."""


class UnknownTokenError(JudgmentError):
    """No pair was handed to this labeler under this token."""


class AnswerConflictError(JudgmentError):
    """Another answer was given with this token before, or this one was taken back."""


class UndoError(JudgmentError):
    """There is no such answer to take back."""


@transaction.atomic
def submit_judgment(
    *,
    labeler: User,
    project: Project,
    token: UUID,
    choice: Choice,
    seconds: float | None = None,
    now: datetime | None = None,
) -> Judgment:
    """Stores a vote, once however often it is sent.

    ``seconds`` from display to choice as the page measured them; never more than have passed since the pair was handed
    out, which counts where the page did not measure. Raises UnknownTokenError, AnswerConflictError. Locks the labeler's
    row, their assignment, and the comparison if it must take a place again.
    """
    now = now or timezone.now()
    lock_labeler(labeler)
    if said := _find_said(labeler, project, token):
        return _expect_same(said, said.action == Judgment.Action.VOTE and said.choice == choice.value)
    assignment = _lock_assignment(labeler, project, token)
    holds_place = assignment.holds_place or take_place(assignment.comparison_id)
    _change_assignment(assignment, Assignment.State.DONE, holds_place)
    return _add_judgment(
        assignment,
        now,
        seconds,
        action=Judgment.Action.VOTE,
        grade=choice.grade,
        side=choice.side,
        winner=_name_winner(assignment, choice),
        surplus=not holds_place,
    )


@transaction.atomic
def skip_comparison(
    *,
    labeler: User,
    project: Project,
    token: UUID,
    reason: SkipReason,
    note: str = "",
    seconds: float | None = None,
    now: datetime | None = None,
) -> Judgment:
    """Gives a pair back for good, saying why; its place is free for somebody else.

    Stored once however often it is sent. Raises UnknownTokenError, AnswerConflictError. Locks as submit_judgment does.
    """
    now = now or timezone.now()
    words = ": ".join(part for part in (reason.value, note.strip()[:MAX_NOTE]) if part)
    lock_labeler(labeler)
    if said := _find_said(labeler, project, token):
        return _expect_same(said, said.action == Judgment.Action.SKIP and said.skip_reason == words)
    assignment = _lock_assignment(labeler, project, token)
    if assignment.holds_place:
        free_places(assignment.comparison_id)
    _change_assignment(assignment, Assignment.State.SKIPPED, holds_place=False)
    return _add_judgment(assignment, now, seconds, action=Judgment.Action.SKIP, skip_reason=words)


@transaction.atomic
def undo_judgment(
    *, labeler: User, project: Project, token: UUID | None = None, now: datetime | None = None
) -> Assignment:
    """Takes the labeler's last vote or skip back and hands them that pair again, sides as before, under a new token.

    ``token`` names the answer meant, so that a request sent twice takes back one answer, not two. Whatever pair they
    held meanwhile returns to the others. Raises UndoError. Locks the labeler's row, both assignments, both comparisons.
    """
    now = now or timezone.now()
    lock_labeler(labeler)
    last = find_undoable(project, labeler)
    if token is not None and (last is None or last.token != token):
        return _find_undone(labeler, project, token)
    if last is None:
        raise UndoError(_("There is no answer of yours to take back."))
    held = Assignment.objects.filter(labeler=labeler, project=project, state=Assignment.State.LEASED)
    ids = [last.assignment_id, *held.values_list("pk", flat=True)]
    rows = {
        row.pk: row
        for row in Assignment.objects.select_for_update(no_key=True, of=("self",)).filter(pk__in=ids).order_by("pk")
    }
    lock_comparisons(row.comparison_id for row in rows.values())
    target = rows.pop(last.assignment_id)
    for current in rows.values():
        _return_pair(current)
    _add_judgment(target, now, 0.0, action=Judgment.Action.UNDO, token=uuid.uuid4(), shown_at=now, supersedes=last)
    target.token = uuid.uuid4()
    target.leased_at, target.expires_at = now, get_expiry(now)
    holds_place = target.holds_place or take_place(target.comparison_id)
    _change_assignment(target, Assignment.State.LEASED, holds_place)
    return load_assignment(target.pk)


def stands(judgment: Judgment) -> bool:
    """Whether nothing said later took its place."""
    return not Judgment.objects.filter(supersedes=judgment).exists()


def _find_said(labeler: User, project: Project, token: UUID) -> Judgment | None:
    return Judgment.objects.filter(labeler=labeler, project=project, token=token).first()


def _expect_same(said: Judgment, same: bool) -> Judgment:
    if not stands(said):
        raise AnswerConflictError(_("This answer was taken back meanwhile; it was not stored again."))
    if not same:
        raise AnswerConflictError(
            _("You answered this pair before, and differently; the first answer stands. Undo it to change it.")
        )
    return said


def _lock_assignment(labeler: User, project: Project, token: UUID) -> Assignment:
    row = (
        Assignment.objects.select_for_update(no_key=True, of=("self",))
        .filter(labeler=labeler, project=project, token=token)
        .first()
    )
    if row is None:
        raise UnknownTokenError(_("This pair is not yours, or was withdrawn; nothing was stored."))
    return row


def _change_assignment(assignment: Assignment, state: Assignment.State, holds_place: bool) -> None:
    assignment.state, assignment.holds_place = state, holds_place
    assignment.save(update_fields=["state", "holds_place", "token", "leased_at", "expires_at"])


def _return_pair(assignment: Assignment) -> None:
    if assignment.state != Assignment.State.LEASED:
        return  # its lease ended while this request waited for it
    if assignment.holds_place:
        free_places(assignment.comparison_id)
    _change_assignment(assignment, Assignment.State.EXPIRED, holds_place=False)


def _find_undone(labeler: User, project: Project, token: UUID) -> Assignment:
    """The lease that the first of two equal undo requests gave."""
    lease = Assignment.objects.filter(
        labeler=labeler,
        project=project,
        state=Assignment.State.LEASED,
        judgments__token=token,
        judgments__superseded_by__action=Judgment.Action.UNDO,
    ).first()
    if lease is None:
        raise UndoError(_("That answer is no longer your last one, so it was not taken back."))
    return load_assignment(lease.pk)


def _add_judgment(assignment: Assignment, now: datetime, seconds: float | None, **fields: object) -> Judgment:
    passed = max(0.0, (now - assignment.leased_at).total_seconds())
    defaults = {
        "token": assignment.token,
        "shown_at": assignment.leased_at,
        "supersedes": assignment.judgments.filter(superseded_by=None).order_by("-id").first(),
    }
    return Judgment.objects.create(
        assignment=assignment,
        comparison_id=assignment.comparison_id,
        project_id=assignment.project_id,
        labeler_id=assignment.labeler_id,
        left_response=assignment.left_response,
        seed=assignment.seed,
        seconds=passed if seconds is None else min(max(seconds, 0.0), passed),
        **(defaults | fields),
    )


def _name_winner(assignment: Assignment, choice: Choice) -> str:
    if not choice.side:
        return ""
    on_right = "b" if assignment.left_response == "a" else "a"
    return assignment.left_response if choice.side == "left" else on_right
