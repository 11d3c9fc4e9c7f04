"""Who got which pair, and what they said of it. Judgments are append-only."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models.answers import (
    SIDED_GRADES,
    SIDELESS_GRADES,
    FlagReason,
    Grade,
    SafeResponses,
    Safety,
    Scale,
    Side,
    SkipReason,
    contradicts,
)
from annotate.models.content import Comparison, Response
from annotate.models.projects import GuidelineVersion, Project


class Display(models.Model):
    """What was shown to a labeler and how it came to be: written when a pair is handed out, kept with each answer."""

    left_response = models.CharField(max_length=1, choices=[("a", "a"), ("b", "b")])
    seed = models.BigIntegerField(help_text=_("Seed from which the side was drawn."))
    position = models.PositiveIntegerField(
        default=0,
        help_text=_("Which of the pairs shown to the labeler in the project this was; 0 where nobody counted."),
    )
    render_hash = models.CharField(
        max_length=64, blank=True, help_text=_("SHA-256 of the markup that was shown, see annotate/rendering.py.")
    )
    side_propensity = models.FloatField(
        null=True, blank=True, help_text=_("Probability with which the sides were drawn as they were.")
    )
    pair_propensity = models.FloatField(
        null=True,
        blank=True,
        help_text=_("Probability with which this pair was drawn to be shown; 1 where the queue left no choice."),
    )

    class Meta:
        abstract = True

    def copy_display(self) -> dict[str, object]:
        """The fields of this class with their values."""
        return {field.name: getattr(self, field.name) for field in Display._meta.get_fields()}


class Assignment(Display):
    """A comparison handed to a labeler, under a lease; ``token`` fences it and makes a submit idempotent."""

    class State(models.TextChoices):
        LEASED = "leased", _("Handed out")
        DONE = "done", _("Judged")
        SKIPPED = "skipped", _("Skipped")
        EXPIRED = "expired", _("Expired")

    class Kind(models.TextChoices):
        """Why this pair was handed out, which no labeler learns. Only an ordinary one takes a place."""

        ORDINARY = "ordinary", _("Ordinary")
        QUALIFICATION = "qualification", _("Gold, to qualify")
        GOLD = "gold", _("Gold, mixed in")
        REPEAT = "repeat", _("Asked again, sides swapped")

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="assignments")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="assignments")
    labeler = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="assignments")
    state = models.CharField(max_length=8, choices=State, default=State.LEASED)
    kind = models.CharField(max_length=13, choices=Kind, default=Kind.ORDINARY)
    token = models.UUIDField(default=uuid.uuid4, unique=True)
    leased_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    holds_place = models.BooleanField(
        default=True, help_text=_("Counts into the comparison's taken; not so for an answer that came too late.")
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["comparison", "labeler"], condition=~Q(kind="repeat"), name="one_assignment_per_labeler"
            ),
            models.UniqueConstraint(
                fields=["comparison", "labeler"], condition=Q(kind="repeat"), name="one_repeat_per_labeler"
            ),
            models.CheckConstraint(
                condition=Q(holds_place=False) | Q(state__in=["leased", "done"]), name="place_held_by_lease_or_vote"
            ),
            models.CheckConstraint(
                condition=Q(holds_place=False) | Q(kind="ordinary"), name="place_held_by_ordinary_pair"
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
            # Which pair of theirs was the last to be shown.
            models.Index(fields=["labeler", "project", "-position"], name="assignment_position"),
            # Progress: how many pairs a labeler met, judged, holds.
            models.Index(fields=["project", "labeler", "state", "kind"], name="assignment_met"),
            # Progress: how many votes of a project fill a place.
            models.Index(fields=["project"], name="assignment_filled", condition=Q(state="done", holds_place=True)),
        ]

    def __str__(self) -> str:
        return f"assignment {self.pk}"


class Judgment(Display):
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
    is_repeat = models.BooleanField(
        default=False, help_text=_("Said when the pair was asked again: tells of the labeler, and counts nowhere else.")
    )
    grade = models.CharField(max_length=13, choices=Grade, blank=True)
    scale = models.CharField(
        max_length=5, choices=Scale, default=Scale.THREE, help_text=_("The scale that the labeler was offered.")
    )
    side = models.CharField(max_length=5, choices=Side, blank=True, help_text=_("The better side as displayed."))
    winner = models.CharField(max_length=1, choices=[("a", "a"), ("b", "b")], blank=True)
    safe = models.CharField(
        max_length=7, choices=SafeResponses, blank=True, help_text=_("Which responses are safe, where that was asked.")
    )
    guidelines = models.ForeignKey(
        GuidelineVersion,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="judgments",
        help_text=_("The version that the labeler had read; none where there was none to read."),
    )
    skip_reason = models.CharField(max_length=300, blank=True)
    rationale = models.TextField(blank=True, help_text=_("Why, in the labeler's own words."))
    reason_tags = models.JSONField(default=list, blank=True, help_text=_("Why, in words of the project's list."))
    rewrite = models.OneToOneField(
        Response,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="rewritten_in",
        help_text=_("The labeler's own version of the better response."),
    )
    supersedes = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="superseded_by"
    )
    token = models.UUIDField(unique=True, help_text=_("The assignment's token when this was said."))
    surplus = models.BooleanField(default=False, help_text=_("Came after its place was given to somebody else."))
    shown_at = models.DateTimeField()
    seconds = models.FloatField(help_text=_("From display to submit."))
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="vote_has_grade_and_side",
                condition=(
                    Q(action="vote", grade__in=SIDELESS_GRADES, side="", winner="", rewrite=None)
                    | (
                        Q(action="vote", grade__in=SIDED_GRADES)
                        & Q(side__in=["left", "right"])
                        & Q(winner__in=["a", "b"])
                    )
                    | Q(action__in=["skip", "undo"], grade="", side="", winner="", rationale="", rewrite=None)
                ),
            ),
            models.CheckConstraint(name="safety_with_vote", condition=Q(safe="") | Q(action="vote")),
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
    def safety(self) -> str:
        """Which responses are safe, by the sides on which they were shown; nothing where that was not asked."""
        if self.safe not in ("a", "b"):
            return self.safe
        return Side.LEFT.value if self.safe == self.left_response else Side.RIGHT.value

    def get_safety_display(self) -> str:
        return str(Safety(self.safety).label)

    @property
    def is_contradiction(self) -> bool:
        """Whether the better response is unsafe while the other one is safe."""
        return contradicts(self.winner, self.safe)

    @property
    def skip_words(self) -> str:
        """Why the pair was skipped, in the reader's language, with the labeler's own words."""
        code, _colon, note = self.skip_reason.partition(": ")
        label = str(SkipReason(code).label) if code in SkipReason.values else code
        return f"{label}: {note}" if note else label


class Flag(models.Model):
    """A labeler asks that somebody look at a pair. The pair stays theirs, and their vote is asked for all the same.

    Without a labeler the house itself asks: a response says who made it.
    """

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="flags")
    labeler = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="flags"
    )
    reason = models.CharField(max_length=8, choices=FlagReason)
    note = models.CharField(max_length=250, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["comparison", "labeler", "reason"],
                condition=Q(resolved_at=None),
                name="one_open_flag_per_reason",
            ),
            models.UniqueConstraint(
                fields=["comparison", "reason"],
                condition=Q(resolved_at=None, labeler=None),
                name="one_open_flag_of_the_house",
            ),
            models.CheckConstraint(
                condition=Q(resolved_at=None, resolved_by=None)
                | Q(resolved_at__isnull=False, resolved_by__isnull=False),
                name="resolved_by_somebody",
            ),
        ]

    def __str__(self) -> str:
        return f"flag {self.pk}"
