"""What a dataset version was made of is no longer changed by those who said it."""

from __future__ import annotations

from django.utils.translation import gettext as _

from annotate.models import Judgment
from annotate.selectors.answers import find_version_being_made, map_frozen
from annotate.services.answers import JudgmentError


class FrozenAnswerError(JudgmentError):
    """A dataset version rests on this vote, or is just being made of it."""


def require_unfrozen(judgment: Judgment) -> None:
    """Raises FrozenAnswerError where a version holds this vote, or one is being made that may."""
    if number := map_frozen([judgment]).get(judgment.pk):
        words = _("Dataset version %(number)d was made with this answer, so it can no longer be changed.")
        raise FrozenAnswerError(words % {"number": number})
    if version := find_version_being_made(judgment):
        words = _("Dataset version %(number)d is just being made; try again when it is finished.")
        raise FrozenAnswerError(words % {"number": version.number})
