"""What labelers say of pairs: vote, skip, undo. Rows are only ever added; a new one supersedes the one before.
An answer that a dataset version rests on is superseded no more (FrozenAnswerError, see annotate/services/frozen.py).

A token stands for one answer. The same answer sent twice is stored once; a second, different one is a conflict. An
answer that comes after its lease ended takes a place again if one is free, else it is stored as surplus: it is never
turned away.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.models import Assignment, Choice, Judgment, Project, Response, SkipReason
from annotate.selectors.guidelines import find_last_read
from annotate.selectors.progress import find_undoable
from annotate.services.answers import JudgmentError, Reasons, check_answer, check_safety
from annotate.services.assignments import get_expiry, load_assignment, show_again
from annotate.services.drafts import drop_draft
from annotate.services.frozen import require_unfrozen
from annotate.services.overlap import raise_need
from annotate.services.places import free_places, lock_comparisons, lock_labeler, take_place
from annotate.services.standing import require_standing, review_gold

MAX_NOTE = 250
"""Characters of a skip's own words."""


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
    rationale: str = "",
    reason_tags: Sequence[str] = (),
    rewrite: str = "",
    safety: str = "",
    confirmed: bool = False,
    seconds: float | None = None,
    now: datetime | None = None,
) -> Judgment:
    """Stores a vote, once however often it is sent.

    ``seconds`` from display to choice as the page measured them; never more than have passed since the pair was handed
    out, which counts where the page did not measure. ``safety`` says which sides are safe; that an unsafe response is
    better than a safe one is taken only where the labeler ``confirmed`` it. Raises UnknownTokenError,
    AnswerConflictError, and AnswerRefusedError for an answer that the project does not take. Locks the labeler's row,
    their assignment, and the comparison if it must take a place again or may ask for one more vote.
    """
    now = now or timezone.now()
    reasons = Reasons(rationale.strip(), tuple(reason_tags))
    lock_labeler(labeler)
    if said := _find_said(labeler, project, token):
        return _expect_same(said, _says(said, choice, reasons, rewrite, safety))
    assignment = find_assignment(labeler, project, token, lock=True)
    check_answer(project, assignment, choice, reasons, rewrite)
    check_safety(project, choice, safety, confirmed=confirmed)
    holds_place = _hold_place(assignment)
    _change_assignment(assignment, Assignment.State.DONE, holds_place)
    drop_draft(assignment)
    said = _add_judgment(
        assignment,
        now,
        seconds,
        action=Judgment.Action.VOTE,
        grade=choice.grade,
        scale=project.scale,
        side=choice.side,
        winner=_name_response(assignment, choice.side),
        safe=_name_response(assignment, safety),
        rationale=reasons.rationale,
        reason_tags=list(reasons.tags),
        rewrite=_store_rewrite(assignment, rewrite) if rewrite else None,
        surplus=is_ordinary(assignment) and not holds_place,
    )
    if is_ordinary(assignment):
        raise_need(project, assignment.comparison_id)
    elif assignment.kind != Assignment.Kind.REPEAT:
        review_gold(project=project, labeler=labeler)
    return said


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
    assignment = find_assignment(labeler, project, token, lock=True)
    if assignment.holds_place:
        free_places(assignment.comparison_id)
    _change_assignment(assignment, Assignment.State.SKIPPED, holds_place=False)
    drop_draft(assignment)
    return _add_judgment(assignment, now, seconds, action=Judgment.Action.SKIP, skip_reason=words)


@transaction.atomic
def undo_judgment(
    *, labeler: User, project: Project, token: UUID | None = None, now: datetime | None = None
) -> Assignment:
    """Takes the labeler's last vote or skip back and hands them that pair again, sides as before, under a new token.

    ``token`` names the answer meant, so that a request sent twice takes back one answer, not two. Whatever pair they
    held meanwhile returns to the others. Raises UndoError, PausedError. Locks the labeler's row, both assignments, both
    comparisons.
    """
    now = now or timezone.now()
    lock_labeler(labeler)
    require_standing(project, labeler)
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
        return_pair(current)
    _add_judgment(target, now, 0.0, action=Judgment.Action.UNDO, token=uuid.uuid4(), shown_at=now, supersedes=last)
    if target.token == last.token:  # else it was being changed, and an answer with the new token may be on its way
        target.token = uuid.uuid4()
    target.expires_at = get_expiry(now)
    _change_assignment(target, Assignment.State.LEASED, _hold_place(target))
    return show_again(load_assignment(target.pk), now)


def stands(judgment: Judgment) -> bool:
    """Whether nothing said later took its place."""
    return not Judgment.objects.filter(supersedes=judgment).exists()


def _find_said(labeler: User, project: Project, token: UUID) -> Judgment | None:
    said = Judgment.objects.select_related("rewrite")
    return said.filter(labeler=labeler, project=project, token=token).first()


def _expect_same(said: Judgment, same: bool) -> Judgment:
    if later := Judgment.objects.filter(supersedes=said).first():
        if later.action == Judgment.Action.UNDO:
            raise AnswerConflictError(_("This answer was taken back meanwhile; it was not stored again."))
        raise AnswerConflictError(_("You changed this answer meanwhile; the change stands."))
    if not same:
        raise AnswerConflictError(
            _("You answered this pair before, and differently; the first answer stands. Undo it to change it.")
        )
    return said


def _says(said: Judgment, choice: Choice, reasons: Reasons, rewrite: str, safety: str) -> bool:
    """Whether a stored judgment is this answer."""
    stored = Reasons(said.rationale, tuple(said.reason_tags))
    text = said.rewrite.text if said.rewrite else ""
    is_vote = said.action == Judgment.Action.VOTE
    return is_vote and (said.choice, stored, text, said.safety) == (choice.value, reasons, rewrite, safety)


def _store_rewrite(assignment: Assignment, text: str) -> Response:
    return Response.objects.create(
        prompt_id=assignment.comparison.prompt_id, text=text, origin=Response.REWRITE, labeler_id=assignment.labeler_id
    )


def find_assignment(labeler: User, project: Project, token: UUID, *, lock: bool = False) -> Assignment:
    """What was handed to the labeler under this token. Raises UnknownTokenError."""
    rows = Assignment.objects.select_for_update(no_key=True, of=("self",)) if lock else Assignment.objects.all()
    row = rows.filter(labeler=labeler, project=project, token=token).first()
    if row is None:
        raise UnknownTokenError(_("This pair is not yours, or was withdrawn; nothing was stored."))
    row.project, row.labeler = project, labeler  # known here, so never asked for again
    return row


def _change_assignment(assignment: Assignment, state: Assignment.State, holds_place: bool) -> None:
    assignment.state, assignment.holds_place = state, holds_place
    assignment.save(update_fields=["state", "holds_place", "token", "leased_at", "expires_at"])


def is_ordinary(assignment: Assignment) -> bool:
    """Whether this was handed out as a pair whose vote the project needs."""
    return assignment.kind == Assignment.Kind.ORDINARY


def _hold_place(assignment: Assignment) -> bool:
    """Whether a place is the assignment's, or becomes its own now; any other than an ordinary pair takes none."""
    return is_ordinary(assignment) and (assignment.holds_place or take_place(assignment.comparison_id))


def return_pair(assignment: Assignment) -> None:
    """Gives a pair that is held back to the others; the caller has locked the assignment."""
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
        "guidelines": find_last_read(assignment.project, assignment.labeler),
        "supersedes": assignment.judgments.filter(superseded_by=None).order_by("-id").first(),
    }
    said = Judgment.objects.create(
        assignment=assignment,
        comparison_id=assignment.comparison_id,
        project=assignment.project,
        labeler=assignment.labeler,
        is_repeat=assignment.kind == Assignment.Kind.REPEAT,
        seconds=passed if seconds is None else min(max(seconds, 0.0), passed),
        **(assignment.copy_display() | defaults | fields),
    )
    if said.supersedes and said.supersedes.action == Judgment.Action.VOTE:
        # Only now, when the row is in: a version that is being frozen waits for it, or is seen here.
        require_unfrozen(said.supersedes)
    return said


def _name_response(assignment: Assignment, side: str) -> str:
    """The response, a or b, that stood on this side; any other word is itself."""
    on_right = "b" if assignment.left_response == "a" else "a"
    return {"left": assignment.left_response, "right": on_right}.get(side, str(side))
