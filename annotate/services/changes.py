"""Changing an earlier answer: its pair is shown again, and only the new answer takes the old one's place.

Reopening gives a new token and nothing else. The old answer stands and keeps its place until the new one is in, so an
edit that is left, forgotten or offline for a week loses nothing, and it needs no lease: it takes no pair from anybody.
The pair that the labeler holds meanwhile stays theirs.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.models import Assignment, Judgment, Project
from annotate.services.assignments import load_assignment, show_again
from annotate.services.frozen import require_unfrozen
from annotate.services.guidelines import require_reading
from annotate.services.judgments import AnswerConflictError, UnknownTokenError, stands
from annotate.services.places import lock_labeler
from annotate.services.standing import require_standing


@transaction.atomic
def reopen_answer(*, labeler: User, project: Project, token: UUID, now: datetime | None = None) -> Assignment:
    """The pair that was answered with ``token``, sides as then, under the token that a new answer needs.

    Asked again before that answer it gives the same token. Raises UnknownTokenError, AnswerConflictError where the
    answer no longer stands, FrozenAnswerError, GuidelinesUnreadError and PausedError. Locks the labeler's row and the
    assignment.
    """
    lock_labeler(labeler)
    require_reading(project, labeler)
    require_standing(project, labeler)
    said = Judgment.objects.filter(labeler=labeler, project=project, token=token)
    judgment = said.exclude(action=Judgment.Action.UNDO).first()
    if judgment is None:
        raise UnknownTokenError(_("There is no such answer of yours."))
    if not stands(judgment):
        raise AnswerConflictError(_("This answer was changed or taken back meanwhile."))
    require_unfrozen(judgment)
    assignment = Assignment.objects.select_for_update(no_key=True).get(pk=judgment.assignment_id)
    if assignment.token == token:
        assignment.token = uuid.uuid4()
        assignment.save(update_fields=["token"])
        return show_again(load_assignment(assignment.pk), now or timezone.now())
    return load_assignment(assignment.pk)
