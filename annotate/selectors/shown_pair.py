"""A pair as its labeler may see it: texts and sides, and nothing of where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from annotate.models import Assignment, Comparison
from annotate.rendering import hash_rendering


@dataclass(frozen=True)
class Turn:
    role: str
    content: str


@dataclass(frozen=True)
class Length:
    """``words`` are runs between spaces, so few in Chinese or Japanese; ``characters`` are Unicode code points."""

    words: int
    characters: int


_UNFOLDED = 2
"""Turns at the end of a long dialogue that the page shows at once: what is answered, and the turn before."""


@dataclass(frozen=True)
class ShownTexts:
    """Page, fragment and API draw this and never the rows behind it, so that nothing else can leak.

    Even the numbers of the two responses stay behind: files often name the winner first.
    """

    comparison_id: int
    turns: list[Turn]
    left: str
    right: str

    @property
    def earlier(self) -> list[Turn]:
        """Turns that the page folds; none where that would save no more than one."""
        return self.turns[:-_UNFOLDED] if len(self.turns) > _UNFOLDED + 1 else []

    @property
    def latest(self) -> list[Turn]:
        return self.turns[len(self.earlier) :]

    @property
    def left_length(self) -> Length:
        return measure_length(self.left)

    @property
    def right_length(self) -> Length:
        return measure_length(self.right)


@dataclass(frozen=True)
class ShownPair(ShownTexts):
    """What one labeler holds, and until when."""

    token: UUID
    shown_at: datetime
    expires_at: datetime


def measure_length(text: str) -> Length:
    return Length(words=len(text.split()), characters=len(text))


def describe_pair(assignment: Assignment) -> ShownPair:
    """What is shown of an assignment that annotate.services.assignments has loaded."""
    texts = show_texts(assignment.comparison, assignment.left_response)
    return ShownPair(
        comparison_id=texts.comparison_id,
        turns=texts.turns,
        left=texts.left,
        right=texts.right,
        token=assignment.token,
        shown_at=assignment.leased_at,
        expires_at=assignment.expires_at,
    )


def show_texts(comparison: Comparison, left_response: str) -> ShownTexts:
    """The texts of a comparison that is loaded with its prompt and responses, ``left_response`` on the left."""
    texts = {"a": comparison.response_a.text, "b": comparison.response_b.text}
    left = texts.pop(left_response)
    (right,) = texts.values()
    turns = [Turn(message["role"], message["content"]) for message in comparison.prompt.messages]
    return ShownTexts(comparison_id=comparison.pk, turns=turns, left=left, right=right)


def hash_pair(pair: ShownTexts) -> str:
    """What stands in the ledger for what was shown."""
    return hash_rendering(((turn.role, turn.content) for turn in pair.turns), pair.left, pair.right)
