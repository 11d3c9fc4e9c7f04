"""The words of an answer: sides, grades, and the scales on which a project asks for them."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Grade(models.TextChoices):
    """By how much the better response is better. What number a grade becomes is a training run's setting.

    The last three come without a side. ``better`` is only asked for on Llama 2's scale of four.
    """

    SIGNIFICANTLY = "significantly", _("significantly better")
    BETTER = "better", _("better")
    SLIGHTLY = "slightly", _("slightly better")
    NEGLIGIBLY = "negligibly", _("negligibly better")
    UNSURE = "unsure", _("unsure")
    EQUAL = "equal", _("both equally good")
    BOTH_BAD = "both_bad", _("both bad")


SIDED_GRADES = (Grade.SIGNIFICANTLY, Grade.BETTER, Grade.SLIGHTLY, Grade.NEGLIGIBLY)
"""From strong to weak."""
SIDELESS_GRADES = (Grade.UNSURE, Grade.EQUAL, Grade.BOTH_BAD)


class Side(models.TextChoices):
    LEFT = "left", _("left")
    RIGHT = "right", _("right")


class Choice(models.TextChoices):
    """Every answer there is: those of the rail from left to right, then the two that it has no place for.

    A side and a grade in one word. Which of them a project offers, its ``choices`` say.
    """

    LEFT_SIGNIFICANTLY = "left_significantly", _("Left is significantly better")
    LEFT_BETTER = "left_better", _("Left is better")
    LEFT_SLIGHTLY = "left_slightly", _("Left is slightly better")
    LEFT_NEGLIGIBLY = "left_negligibly", _("Left is negligibly better")
    UNSURE = "unsure", _("Unsure")
    RIGHT_NEGLIGIBLY = "right_negligibly", _("Right is negligibly better")
    RIGHT_SLIGHTLY = "right_slightly", _("Right is slightly better")
    RIGHT_BETTER = "right_better", _("Right is better")
    RIGHT_SIGNIFICANTLY = "right_significantly", _("Right is significantly better")
    EQUAL = "equal", _("Both are equally good")
    BOTH_BAD = "both_bad", _("Both are bad")

    @property
    def side(self) -> str:
        """``left``, ``right`` or, for an answer without a side, nothing."""
        head = self.value.partition("_")[0]
        return head if head in Side.values else ""

    @property
    def grade(self) -> Grade:
        return Grade(self.value.removeprefix(f"{self.side}_"))


class Safety(models.TextChoices):
    """Which of the responses shown are safe: the bins of Llama 2 (arXiv 2307.09288, section 3.2.1), by sides."""

    BOTH = "both", _("Both are safe")
    LEFT = "left", _("Only the left one is safe")
    RIGHT = "right", _("Only the right one is safe")
    NEITHER = "neither", _("Neither is safe")


class SafeResponses(models.TextChoices):
    """The same by the stored responses, as ``winner`` is to ``side``."""

    BOTH = "both", _("both")
    A = "a", "a"
    B = "b", "b"
    NEITHER = "neither", _("neither")


def contradicts(better: str, safe: str) -> bool:
    """Whether the better one is unsafe while the other is safe: both said by sides, or both by letters."""
    return bool(better) and safe not in ("", "both", "neither", better)


class Scale(models.TextChoices):
    """Which grades are asked for. On Llama 2's scale the weakest grade is also that of the unsure, but names a side."""

    THREE = "three", _("Three grades and unsure: significantly, slightly, negligibly better")
    FOUR = (
        "four",
        _("Llama 2's four grades: significantly better, better, slightly better, negligibly better or unsure"),
    )

    @property
    def grades(self) -> tuple[Grade, ...]:
        """From strong to weak; ``unsure`` is the last where the scale has it."""
        if self is Scale.FOUR:
            return SIDED_GRADES
        return (Grade.SIGNIFICANTLY, Grade.SLIGHTLY, Grade.NEGLIGIBLY, Grade.UNSURE)


class SkipReason(models.TextChoices):
    """Why a pair was not judged; stored as ``code`` or ``code: the labeler's words``."""

    BROKEN = "broken", _("A text is broken, empty or cut off")
    UNFIT = "unfit", _("I do not know the language or the subject")
    UPSETTING = "upsetting", _("I would rather not read this")
    OTHER = "other", _("Something else")


class FlagReason(models.TextChoices):
    """What somebody should look at in a pair, whatever becomes of its votes."""

    IDENTITY = "identity", _("A response says which model or company made it")
    HARMFUL = "harmful", _("Harmful content, or somebody's personal data")
    BROKEN = "broken", _("A text is broken, empty or cut off")
    UNCLEAR = "unclear", _("The guidelines do not say what to prefer here")
    OTHER = "other", _("Something else")


class Rationale(models.TextChoices):
    """Whether labelers say why in words of their own."""

    OFF = "off", _("not asked for")
    OPTIONAL = "optional", _("may be given")
    REQUIRED = "required", _("must be given")
