"""One pair under review, as a reviewer may see it: blind at first, with all that was said once they have answered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.utils.crypto import salted_hmac

from annotate.models import Adjudication, BlindAnswer, Choice, Comparison, Flag, GoldAnswer, Judgment
from annotate.models.review import name_choice
from annotate.selectors.counted import select_counted
from annotate.selectors.shown_pair import ShownTexts, show_texts
from annotate.services.assignments import draw_left

_SEED_BITS = 62


@dataclass(frozen=True)
class View:
    """The sides as one reviewer sees them, always the same for them."""

    seed: int
    left_response: str

    def name_winner(self, choice: Choice) -> str:
        """The response that the choice names; nothing for a choice without a side."""
        if not choice.side:
            return ""
        return self.left_response if choice.side == "left" else {"a": "b", "b": "a"}[self.left_response]


@dataclass(frozen=True)
class ShownVote:
    """A vote told by the reviewer's sides; ``is_mirrored`` where its labeler saw the pair the other way round."""

    judgment: Judgment
    choice: Choice
    is_mirrored: bool


@dataclass(frozen=True)
class Review:
    """All that a reviewer may see. Before their own answer only ``texts``: the rest is not even read."""

    comparison: Comparison
    texts: ShownTexts
    view: View
    blind: BlindAnswer | Judgment | None

    @property
    def is_open(self) -> bool:
        """Whether the votes may be shown."""
        return self.blind is not None

    @property
    def blind_choice(self) -> Choice | None:
        return name_choice(self.blind.winner, self.blind.grade, self.view.left_response) if self.blind else None

    @property
    def was_vote(self) -> bool:
        return isinstance(self.blind, Judgment)

    @cached_property
    def votes(self) -> list[ShownVote]:
        """The votes that stand, in the order in which they were given."""
        if not self.is_open:
            return []
        left = self.view.left_response
        return [
            ShownVote(vote, name_choice(vote.winner, vote.grade, left), bool(vote.left_response != left))
            for vote in list_standing_votes(self.comparison).select_related("labeler", "rewrite").order_by("pk")
        ]

    @cached_property
    def flags(self) -> list[Flag]:
        """The flags that are open."""
        if not self.is_open:
            return []
        return list(self.comparison.flags.filter(resolved_at=None).select_related("labeler").order_by("pk"))

    @cached_property
    def rulings(self) -> list[Adjudication]:
        """All decisions on the pair, the one that stands first."""
        return list(self.comparison.adjudications.select_related("reviewer").order_by("-pk")) if self.is_open else []

    @property
    def gold_choice(self) -> Choice | None:
        """The known answer by this reviewer's sides, where the pair is gold."""
        gold = GoldAnswer.objects.filter(comparison=self.comparison, is_active=True).first() if self.is_open else None
        return name_choice(gold.winner, gold.grade, self.view.left_response) if gold else None

    @property
    def ruling(self) -> Adjudication | None:
        return self.rulings[0] if self.rulings else None

    @property
    def ruling_choice(self) -> Choice | None:
        """The standing decision by this reviewer's sides; None where there is none, or the pair was dropped."""
        if self.ruling is None or self.ruling.dropped:
            return None
        return name_choice(self.ruling.winner, self.ruling.grade, self.view.left_response)


def describe_review(comparison: Comparison, reviewer: User) -> Review:
    """Needs a comparison loaded with its prompt and both responses."""
    view = see_pair(comparison, reviewer)
    return Review(comparison, show_texts(comparison, view.left_response), view, find_blind(comparison, reviewer))


def see_pair(comparison: Comparison, reviewer: User) -> View:
    """The sides on which this reviewer sees the pair: as they saw it before, else by a coin that is theirs alone.

    The coin is drawn from the house's secret, so that nothing need be stored before there is an answer, and nobody can
    tell it in advance.
    """
    if before := find_blind(comparison, reviewer):
        return View(before.seed, before.left_response)
    digest = salted_hmac("review", f"{comparison.pk}:{reviewer.pk}", algorithm="sha256").digest()
    seed = int.from_bytes(digest[:8], "big") >> (64 - _SEED_BITS)
    return View(seed, draw_left(seed))


def find_blind(comparison: Comparison, reviewer: User) -> BlindAnswer | Judgment | None:
    """What the reviewer said of the pair before they saw the votes: their own vote where they labeled it."""
    blind = BlindAnswer.objects.filter(comparison=comparison, reviewer=reviewer).first()
    return blind or list_standing_votes(comparison).filter(labeler=reviewer).order_by("pk").first()


def find_ruling(comparison: Comparison) -> Adjudication | None:
    """The decision that stands."""
    return comparison.adjudications.filter(superseded_by=None).first()


def list_standing_votes(comparison: Comparison) -> QuerySet[Judgment]:
    return select_counted(with_gold=True).filter(comparison=comparison)
