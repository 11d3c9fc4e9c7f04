"""Votes as rows, for tests that are about what becomes of votes, not about how they are given."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import User
from django.utils import timezone

from annotate.models import SIDELESS_GRADES, Assignment, Comparison, Judgment


def vote(
    comparison: Comparison, labeler: User, winner: str = "a", grade: str = "slightly", **fields: object
) -> Judgment:
    """A vote for response ``winner`` (empty for a grade without a side), shown with response a on the left."""
    now = timezone.now()
    assignment, _created = Assignment.objects.get_or_create(
        comparison=comparison,
        labeler=labeler,
        defaults={
            "project": comparison.project,
            "state": Assignment.State.DONE,
            "left_response": "a",
            "seed": 0,
            "leased_at": now,
            "expires_at": now,
        },
    )
    side = {"a": "left", "b": "right", "": ""}[winner]
    return say(
        assignment,
        "vote",
        winner=winner,
        side=side,
        grade=grade if winner or grade in SIDELESS_GRADES else "unsure",
        **fields,
    )


def undo(judgment: Judgment) -> Judgment:
    """Takes a vote back."""
    return say(judgment.assignment, "undo", supersedes=judgment)


def say(assignment: Assignment, action: str, **fields: object) -> Judgment:
    """Any row of the log, the sides as the assignment has them."""
    return Judgment.objects.create(
        assignment=assignment,
        comparison=assignment.comparison,
        project=assignment.project,
        labeler=assignment.labeler,
        action=action,
        token=uuid.uuid4(),
        left_response=assignment.left_response,
        seed=0,
        shown_at=assignment.leased_at,
        seconds=1.0,
        **fields,
    )
