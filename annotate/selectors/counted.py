"""Which votes count: one place for all that counts votes."""

from __future__ import annotations

from django.db.models import QuerySet

from annotate.models import Judgment


def select_counted(*, with_gold: bool = False) -> QuerySet[Judgment]:
    """Votes that stand, no repeats among them; those on gold, whose answer is known, only ``with_gold``."""
    votes = Judgment.objects.filter(action=Judgment.Action.VOTE, superseded_by=None, is_repeat=False)
    return votes if with_gold else votes.filter(comparison__gold=None)
