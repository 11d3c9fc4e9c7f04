"""A pair as its labeler may see it: texts and sides, and nothing of where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from annotate.models import Assignment


@dataclass(frozen=True)
class Turn:
    role: str
    content: str


@dataclass(frozen=True)
class ShownPair:
    """Page, fragment and API draw this and never the rows behind it, so that nothing else can leak.

    Even the numbers of the two responses stay behind: files often name the winner first.
    """

    token: UUID
    comparison_id: int
    turns: list[Turn]
    left: str
    right: str
    shown_at: datetime
    expires_at: datetime


def describe_pair(assignment: Assignment) -> ShownPair:
    """What is shown of an assignment that annotate.services.assignments has loaded."""
    comparison = assignment.comparison
    texts = {"a": comparison.response_a.text, "b": comparison.response_b.text}
    left = texts.pop(assignment.left_response)
    (right,) = texts.values()
    return ShownPair(
        token=assignment.token,
        comparison_id=comparison.pk,
        turns=[Turn(message["role"], message["content"]) for message in comparison.prompt.messages],
        left=left,
        right=right,
        shown_at=assignment.leased_at,
        expires_at=assignment.expires_at,
    )
