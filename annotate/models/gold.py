"""Pairs with a known answer, and what became of labelers who were measured by them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models.answers import SIDED_GRADES, SIDELESS_GRADES, Grade
from annotate.models.content import Comparison
from annotate.models.projects import Project


class GoldAnswer(models.Model):
    """The known answer to a comparison, which thereby is gold: no vote on it ever enters a dataset or a figure.

    A gold comparison needs no votes (``need`` 0): it is never handed out as an ordinary one.
    """

    comparison = models.OneToOneField(Comparison, on_delete=models.CASCADE, related_name="gold")
    winner = models.CharField(max_length=1, choices=[("a", "a"), ("b", "b")], blank=True)
    grade = models.CharField(_("grade"), max_length=13, choices=Grade)
    explanation = models.CharField(
        _("explanation"), max_length=1000, blank=True, help_text=_("Why this is the answer; for reviewers.")
    )
    is_active = models.BooleanField(
        default=True, help_text=_("Retired ones are handed out no more and count for or against nobody.")
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="gold_has_grade_and_side",
                condition=Q(grade__in=SIDELESS_GRADES, winner="") | Q(grade__in=SIDED_GRADES, winner__in=["a", "b"]),
            ),
        ]

    def __str__(self) -> str:
        return f"gold {self.pk}"

    @property
    def as_choice(self) -> str:
        """The answer as somebody would give it who sees response a on the left."""
        side = {"a": "left_", "b": "right_", "": ""}[self.winner]
        return f"{side}{self.grade}"


class StandingDecision(models.Model):
    """One step in whether a labeler may work in a project. Rows are only ever added; the newest one stands."""

    class Action(models.TextChoices):
        QUALIFIED = "qualified", _("Qualified")
        FAILED = "failed", _("Not qualified")
        PAUSED = "paused", _("Paused")
        APPEALED = "appealed", _("Appealed")
        UPHELD = "upheld", _("Pause upheld")
        REINSTATED = "reinstated", _("Reinstated")

    PAUSING = (Action.FAILED, Action.PAUSED, Action.APPEALED, Action.UPHELD)
    """After these the labeler gets no pairs."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="standing_decisions")
    labeler = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="standing_decisions")
    action = models.CharField(max_length=10, choices=Action)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text=_("Nobody where the gold decided by itself."),
    )
    words = models.CharField(max_length=2000, blank=True)
    evidence = models.JSONField(
        default=dict, help_text=_("Gold judged, mean credit, e-value and the bar, as they were.")
    )
    takes_effect_at = models.PositiveIntegerField(
        default=0,
        help_text=_("Answers of the labeler from which on it holds: a pause that came at once would name its pair."),
    )
    counts_from = models.BigIntegerField(
        default=0, help_text=_("Only judgments with higher numbers enter the test that runs from here.")
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        indexes = [
            # The newest decision on a labeler, asked before each pair.
            models.Index(fields=["labeler", "project", "-id"], name="standing_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.labeler} {self.action}"

    @property
    def is_pausing(self) -> bool:
        """Whether the labeler gets no pairs, once this takes effect."""
        return self.action in self.PAUSING
