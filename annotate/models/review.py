"""Review of pairs by those who may see the votes: first blind, then with them. Rows are only ever added."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models.answers import SIDED_GRADES, SIDELESS_GRADES, Choice, Grade, Scale
from annotate.models.content import Comparison
from annotate.models.datasets import DatasetVersion
from annotate.models.judging import Judgment
from annotate.models.projects import Project

_AB = [("a", "a"), ("b", "b")]
_ANSWER = Q(grade__in=SIDELESS_GRADES, winner="") | Q(grade__in=SIDED_GRADES, winner__in=["a", "b"])


def name_choice(winner: str, grade: str, left_response: str) -> Choice:
    """An answer as the rail names it for somebody who sees ``left_response`` on the left."""
    if not winner:
        return Choice(grade)
    return Choice(f"{'left' if winner == left_response else 'right'}_{grade}")


class BlindAnswer(models.Model):
    """What a reviewer says of a pair before they see anybody's vote. It is no vote: nothing counts it."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    comparison = models.ForeignKey(Comparison, on_delete=models.PROTECT, related_name="blind_answers")
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    winner = models.CharField(max_length=1, blank=True, choices=_AB)
    grade = models.CharField(max_length=13, choices=Grade)
    scale = models.CharField(max_length=5, choices=Scale)
    rationale = models.TextField(blank=True)
    reason_tags = models.JSONField(default=list, blank=True)
    left_response = models.CharField(max_length=1, choices=_AB)
    seed = models.BigIntegerField(help_text=_("Seed from which the side was drawn."))
    seconds = models.FloatField(null=True, blank=True, help_text=_("At work, as the page measured them."))
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["comparison", "reviewer"], name="one_blind_answer_per_reviewer"),
            models.CheckConstraint(name="blind_answer_has_grade_and_side", condition=_ANSWER),
        ]

    def __str__(self) -> str:
        return f"blind answer {self.pk}"


class Adjudication(models.Model):
    """The decision on a pair, given by somebody who first answered it blind; the newest one stands.

    It takes the place of the votes in every dataset frozen from then on. ``dropped`` pairs enter none.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="adjudications")
    comparison = models.ForeignKey(Comparison, on_delete=models.PROTECT, related_name="adjudications")
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="adjudications")
    blind = models.ForeignKey(
        BlindAnswer, null=True, blank=True, on_delete=models.PROTECT, related_name="adjudications"
    )
    vote = models.ForeignKey(
        Judgment,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="adjudications",
        help_text=_("The reviewer's own vote, where they had labeled the pair: it is their blind answer."),
    )
    dropped = models.BooleanField(default=False)
    winner = models.CharField(max_length=1, blank=True, choices=_AB)
    grade = models.CharField(max_length=13, blank=True, choices=Grade)
    left_response = models.CharField(max_length=1, choices=_AB, help_text=_("As the reviewer saw the pair."))
    note = models.CharField(max_length=500, blank=True)
    supersedes = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="superseded_by"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="adjudication_decides_or_drops",
                condition=Q(dropped=True, winner="", grade="") | (Q(dropped=False) & _ANSWER),
            ),
            models.CheckConstraint(
                name="adjudication_rests_on_a_blind_answer",
                condition=Q(blind=None, vote__isnull=False) | Q(blind__isnull=False, vote=None),
            ),
            # Of two decisions at one time the second sees the first.
            models.UniqueConstraint(fields=["comparison"], condition=Q(supersedes=None), name="one_first_adjudication"),
        ]
        indexes = [
            # A dataset version reads a project's adjudications up to a number.
            models.Index(fields=["project", "id"], name="adjudication_project"),
        ]

    def __str__(self) -> str:
        return f"adjudication {self.pk}"

    @property
    def choice(self) -> Choice | None:
        """The decision as the reviewer's rail names it; None for a dropped pair."""
        return None if self.dropped else name_choice(self.winner, self.grade, self.left_response)


class DatasetVersionAdjudication(models.Model):
    """Which adjudications a version's rows rest on, beside its votes."""

    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="adjudications")
    adjudication = models.ForeignKey(Adjudication, on_delete=models.PROTECT, related_name="uses")
    split = models.CharField(max_length=5, choices=[("train", "train"), ("eval", "eval")])

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["dataset_version", "adjudication"], name="adjudication_once_per_version")
        ]

    def __str__(self) -> str:
        return f"{self.adjudication} in {self.dataset_version}"
