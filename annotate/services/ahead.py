"""The pair that will come next, told before the present one is answered, so that its page can be drawn in advance.

Nothing is handed out for it and nothing written: it is a guess that the answer's ticket asks to be kept, and that
whoever takes the pair first undoes. Its sides are drawn from the labeler and the pair, so they come true with it.
"""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.models import User
from django.core import signing
from django.utils import timezone

from annotate.models import Assignment, Project
from annotate.selectors.guidelines import find_unread
from annotate.selectors.standing import find_pause
from annotate.services.assignments import find_row
from annotate.services.stream import foresee_turn

NO_TOKEN = UUID(int=0)
"""Of a pair that was not handed out: no answer is taken with it."""
_SALT = "annotate.ahead"


def foresee_pair(*, labeler: User, project: Project, token: UUID) -> tuple[Assignment, str] | None:
    """What will probably follow the pair held under ``token``, not stored, and the ticket that asks for it.

    None where nothing follows, or this is not what the labeler holds.
    """
    held = Assignment.objects.filter(labeler=labeler, project=project, token=token, state=Assignment.State.LEASED)
    if project.archived_at or not held.exists() or find_unread(project, labeler) or find_pause(project, labeler):
        return None
    turn = foresee_turn(project, labeler, token)
    if turn is None:
        return None
    comparison, left = turn.comparison, find_row(turn, labeler).left_response
    now = timezone.now()
    next_one = Assignment(
        comparison=comparison, project=project, labeler=labeler, left_response=left, token=NO_TOKEN, leased_at=now,
        expires_at=now,
    )  # fmt: skip
    return next_one, signing.dumps([labeler.pk, project.pk, str(token), comparison.pk], salt=_SALT)


def read_ticket(ticket: str, *, labeler: User, project: Project, token: UUID | None) -> int | None:
    """The comparison that was foreseen for this labeler after this token; None for any other ticket."""
    try:
        *owner, comparison_id = signing.loads(ticket, salt=_SALT)
    except (signing.BadSignature, ValueError):
        return None
    return int(comparison_id) if owner == [labeler.pk, project.pk, str(token)] else None
