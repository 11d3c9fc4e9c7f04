"""Who got which pair, and what they said of it. Judgments are append-only."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models.content import Comparison
from annotate.models.projects import Project


class Grade(models.TextChoices):
    """By how much the better response is better. What number a grade becomes is a training run's setting."""

    SIGNIFICANTLY = "significantly", _("significantly better")
    SLIGHTLY = "slightly", _("slightly better")
    NEGLIGIBLY = "negligibly", _("negligibly better")
    UNSURE = "unsure", _("unsure")


class Side(models.TextChoices):
    LEFT = "left", _("left")
    RIGHT = "right", _("right")


class Choice(models.TextChoices):
    """The seven answers of the rail, from left to right: a side and a grade in one word."""

    LEFT_SIGNIFICANTLY = "left_significantly", _("Left is significantly better")
    LEFT_SLIGHTLY = "left_slightly", _("Left is slightly better")
    LEFT_NEGLIGIBLY = "left_negligibly", _("Left is negligibly better")
    UNSURE = "unsure", _("Unsure")
    RIGHT_NEGLIGIBLY = "right_negligibly", _("Right is negligibly better")
    RIGHT_SLIGHTLY = "right_slightly", _("Right is slightly better")
    RIGHT_SIGNIFICANTLY = "right_significantly", _("Right is significantly better")

    @property
    def side(self) -> str:
        """``left``, ``right`` or, for unsure, nothing."""
        return self.value.rpartition("_")[0]

    @property
    def grade(self) -> Grade:
        return Grade(self.value.rpartition("_")[2])


class SkipReason(models.TextChoices):
    """Why a pair was not judged; stored as ``code`` or ``code: the labeler's words``."""

    BROKEN = "broken", _("A text is broken, empty or cut off")
    UNFIT = "unfit", _("I do not know the language or the subject")
    UPSETTING = "upsetting", _("I would rather not read this")
    OTHER = "other", _("Something else")


class Assignment(models.Model):
    """A comparison handed to a labeler, under a lease; ``token`` fences it and makes a submit idempotent."""

    class State(models.TextChoices):
        LEASED = "leased", _("Handed out")
        DONE = "done", _("Judged")
        SKIPPED = "skipped", _("Skipped")
        EXPIRED = "expired", _("Expired")

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="assignments")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="assignments")
    labeler = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="assignments")
    state = models.CharField(max_length=8, choices=State, default=State.LEASED)
    token = models.UUIDField(default=uuid.uuid4, unique=True)
    left_response = models.CharField(max_length=1, choices=[("a", "a"), ("b", "b")])
    seed = models.BigIntegerField(help_text=_("Seed from which the side was drawn."))
    leased_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    holds_place = models.BooleanField(
        default=True, help_text=_("Counts into the comparison's taken; not so for an answer that came too late.")
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["comparison", "labeler"], name="one_assignment_per_labeler"),
            models.CheckConstraint(
                condition=Q(holds_place=False) | Q(state__in=["leased", "done"]), name="place_held_by_lease_or_vote"
            ),
            models.UniqueConstraint(
                fields=["project", "labeler"], condition=Q(state="leased"), name="one_lease_per_labeler"
            ),
        ]
        indexes = [
            # Reaping leases whose time is over.
            models.Index(fields=["expires_at"], name="assignment_expiry", condition=Q(state="leased")),
            # A labeler's own history, newest first.
            models.Index(fields=["labeler", "project", "-id"], name="assignment_history"),
            # Progress: how many votes of a project fill a place.
            models.Index(fields=["project"], name="assignment_filled", condition=Q(state="done", holds_place=True)),
        ]

    def __str__(self) -> str:
        return f"assignment {self.pk}"


class Judgment(models.Model):
    """One thing a labeler said. An undo or a change is a new row that supersedes the old one."""

    class Action(models.TextChoices):
        VOTE = "vote", _("Vote")
        SKIP = "skip", _("Skip")
        UNDO = "undo", _("Undo")

    assignment = models.ForeignKey(Assignment, on_delete=models.PROTECT, related_name="judgments")
    comparison = models.ForeignKey(Comparison, on_delete=models.PROTECT, related_name="judgments")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="judgments")
    labeler = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="judgments")
    action = models.CharField(max_length=4, choices=Action)
    grade = models.CharField(max_length=13, choices=Grade, blank=True)
    side = models.CharField(max_length=5, choices=Side, blank=True, help_text=_("The better side as displayed."))
    winner = models.CharField(max_length=1, choices=[("a", "a"), ("b", "b")], blank=True)
    skip_reason = models.CharField(max_length=300, blank=True)
    supersedes = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="superseded_by"
    )
    token = models.UUIDField(unique=True, help_text=_("The assignment's token when this was said."))
    surplus = models.BooleanField(default=False, help_text=_("Came after its place was given to somebody else."))
    left_response = models.CharField(max_length=1, choices=[("a", "a"), ("b", "b")])
    seed = models.BigIntegerField()
    shown_at = models.DateTimeField()
    seconds = models.FloatField(help_text=_("From display to submit."))
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="vote_has_grade_and_side",
                condition=(
                    Q(action="vote", grade="unsure", side="", winner="")
                    | (
                        Q(action="vote", grade__in=["significantly", "slightly", "negligibly"])
                        & Q(side__in=["left", "right"])
                        & Q(winner__in=["a", "b"])
                    )
                    | Q(action__in=["skip", "undo"], grade="", side="", winner="")
                ),
            ),
        ]
        indexes = [
            # A dataset version reads a project's judgments up to a number.
            models.Index(fields=["project", "id"], name="judgment_project"),
            # A labeler's last answers in a project.
            models.Index(fields=["labeler", "project", "-id"], name="judgment_labeler"),
        ]

    def __str__(self) -> str:
        return f"judgment {self.pk}"

    @property
    def choice(self) -> str:
        """The answer as the rail names it; nothing for a skip or an undo."""
        return "_".join(part for part in (self.side, self.grade) if part)

    @property
    def skip_words(self) -> str:
        """Why the pair was skipped, in the reader's language, with the labeler's own words."""
        code, _colon, note = self.skip_reason.partition(": ")
        label = str(SkipReason(code).label) if code in SkipReason.values else code
        return f"{label}: {note}" if note else label
