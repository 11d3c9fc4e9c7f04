"""Which turns of a labeler are gold or repeats: a tape of coins, fixed for each, that the server alone can read.

The coin lies at a place of the tape, not in time. So an undo or an ended lease meets the same coin and the same pair
again, as it would with an ordinary pair, and what is left can be counted along the tape: every answer lowers it by one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef
from django.utils import timezone
from django.utils.crypto import salted_hmac

from annotate.models import Assignment, GoldAnswer, Judgment, Project
from annotate.permissions import can_review
from annotate.selectors.counted import select_counted
from annotate.selectors.standing import find_decision

_MOST_REPEATS = 200


@dataclass(frozen=True)
class Plan:
    """What gold and which repeats are on one labeler's way.

    ``pool`` are the comparisons that they have not met, ``owed`` how many of them come first, to qualify, ``rate`` how
    often one comes later. The next turn lies at ``place`` of the tape with this ``key``: so many they have met.
    """

    pool: tuple[int, ...]
    place: int
    owed: int
    rate: float
    key: bytes
    repeats: tuple[int, ...] = ()
    """Comparisons that they judged long enough ago, and once alone."""
    repeat_rate: float = 0.0

    @property
    def chances(self) -> dict[Assignment.Kind, float]:
        """How likely the next turn is gold or a repeat, once they have qualified; 0 where there is none."""
        return {
            Assignment.Kind.GOLD: self.rate if self.pool else 0.0,
            Assignment.Kind.REPEAT: self.repeat_rate if self.repeats else 0.0,
        }

    def find_next(self) -> Assignment.Kind:
        """What the coin at the place of the next turn says, as far as there is such a pair."""
        coin = float(self._toss(self.place + 1)[-1])
        if coin < self.rate:
            return Assignment.Kind.GOLD if self.pool else Assignment.Kind.ORDINARY
        is_repeat = bool(self.repeats) and coin < self.rate + self.repeat_rate
        return Assignment.Kind.REPEAT if is_repeat else Assignment.Kind.ORDINARY

    def choose(self, pool: tuple[int, ...]) -> int:
        """The comparison that comes next among a pool: the same as long as it was not met."""
        return min(pool, key=self._rank)

    def count_ahead(self, ordinary: int) -> int:
        """Gold that comes to qualify, and then gold and repeats before the last of so many ordinary pairs."""
        if self.owed > len(self.pool):
            return len(self.pool)
        if not ordinary or not (self.rate or self.repeat_rate):
            return self.owed
        start, gold_left = self.place + self.owed, len(self.pool) - self.owed
        # No more than the pools can come, so the last of the ordinary ones lies within so many coins.
        coins = self._toss(start + ordinary + gold_left + len(self.repeats))[start:]
        gold, repeat = coins < self.rate, (coins >= self.rate) & (coins < self.rate + self.repeat_rate)
        extra = gold & (np.cumsum(gold) <= gold_left) | repeat & (np.cumsum(repeat) <= len(self.repeats))
        return self.owed + int(np.searchsorted(np.cumsum(~extra), ordinary)) + 1 - ordinary

    def _toss(self, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """The first coins of the tape, each from [0, 1)."""
        return np.random.Generator(np.random.Philox(key=int.from_bytes(self.key[:16], "big"))).random(count)

    def _rank(self, comparison_id: int) -> bytes:
        return hashlib.blake2b(str(comparison_id).encode(), key=self.key, digest_size=8).digest()


def read_plan(project: Project, labeler: User, now: datetime | None = None) -> Plan | None:
    """None where neither gold nor repeats are on the labeler's way. Gold is not for those who may read its answers."""
    asks_gold = bool(project.gold_rate or project.qualification_pairs) and not can_review(labeler, project)
    if not asks_gold and not project.repeat_rate:
        return None
    met = Assignment.objects.filter(labeler=labeler, project=project).exclude(state=Assignment.State.EXPIRED)
    gold = GoldAnswer.objects.filter(comparison__project=project, is_active=True)
    pool = gold.filter(~Exists(met.filter(comparison=OuterRef("comparison")))).values_list("comparison_id", flat=True)
    key = salted_hmac("annotate.tape", f"{project.pk}:{labeler.pk}", algorithm="sha256").digest()
    repeats = list_repeatable(project, labeler, now or timezone.now()) if project.repeat_rate else []
    if not asks_gold:
        return Plan((), met.count(), 0, 0.0, key, tuple(repeats), project.repeat_rate)
    owed = _count_owed(project, labeler)
    return Plan(tuple(pool), met.count(), owed, project.gold_rate, key, tuple(repeats), project.repeat_rate)


def list_repeatable(project: Project, labeler: User, now: datetime) -> list[int]:
    """Comparisons on which the labeler's vote names a side and stands, shown so many days ago, and once alone.

    The oldest ones: so few that reading them does not slow the page down.
    """
    again = Assignment.objects.filter(kind=Assignment.Kind.REPEAT, labeler=labeler, comparison=OuterRef("comparison"))
    votes = select_counted().filter(labeler=labeler, project=project, assignment__kind=Assignment.Kind.ORDINARY)
    votes = votes.filter(shown_at__lte=now - timedelta(days=project.repeat_after_days)).exclude(winner="")
    votes = votes.filter(~Exists(again.exclude(state=Assignment.State.EXPIRED)))
    return list(votes.order_by("pk").values_list("comparison_id", flat=True)[:_MOST_REPEATS])


def _count_owed(project: Project, labeler: User) -> int:
    """Gold pairs that the labeler must still judge, or holds, to qualify; none where there is too little gold."""
    asked = project.qualification_pairs
    if not asked or find_decision(project, labeler):
        return 0
    if GoldAnswer.objects.filter(comparison__project=project, is_active=True).count() < asked:
        return 0
    votes = Judgment.objects.filter(labeler=labeler, project=project, action=Judgment.Action.VOTE, superseded_by=None)
    judged = votes.filter(assignment__kind=Assignment.Kind.QUALIFICATION, comparison__gold__is_active=True).count()
    held = Assignment.objects.filter(
        labeler=labeler, project=project, state=Assignment.State.LEASED, kind=Assignment.Kind.QUALIFICATION
    )
    return max(0, asked - judged - held.count())
