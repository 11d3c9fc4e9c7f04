"""A project: one question put to one group of labelers about one stream of comparisons.

Several questions about one stream are axes: projects of their own, each below the parent that holds the prompts.
"""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models.answers import Choice, Rationale, Scale

_LANGUAGE = re.compile("[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
"""A language tag as of BCP 47, without its rarer forms."""
MAX_LANGUAGES = 20
MAX_TAGS, MAX_TAG = 20, 40
"""Reasons to tick: how many, and characters of each."""


def check_languages(value: Any) -> None:
    """Raises ValidationError unless this is a list of language tags, none twice."""
    check_texts(value, most=MAX_LANGUAGES, longest=35)
    for tag in value:
        if not _LANGUAGE.fullmatch(tag):
            raise ValidationError(_("“%(tag)s” is no language code such as en or pt-BR."), params={"tag": tag})


def check_reason_tags(value: Any) -> None:
    """Raises ValidationError unless this is a short list of short texts, none twice."""
    check_texts(value, most=MAX_TAGS, longest=MAX_TAG)


def check_texts(value: Any, *, most: int, longest: int) -> None:
    """Raises ValidationError unless this is a list of at most ``most`` different texts that can be shown."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValidationError(_("This is no list of texts."))
    if len(value) > most:
        raise ValidationError(_("At most %(most)d of them, please."), params={"most": most})
    for text in value:
        if not text.strip() or len(text) > longest or not text.isprintable():
            raise ValidationError(
                _("“%(text)s” is empty, longer than %(longest)d characters, or cannot be shown."),
                params={"text": text[:longest], "longest": longest},
            )
    if len(set(value)) < len(value):
        raise ValidationError(_("The list names one thing twice."))


class Project(models.Model):
    name = models.CharField(_("name"), max_length=100, unique=True)
    slug = models.SlugField(max_length=60, unique=True, help_text=_("Stands in the address of the project's pages."))
    parent = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="axes",
        help_text=_("The project whose pairs are judged here on an axis of their own."),
    )
    axis = models.CharField(
        _("axis"),
        max_length=40,
        blank=True,
        help_text=_(
            "What is judged, in a word or two, such as Helpfulness or Safety. A project by itself may have none."
        ),
    )
    description = models.CharField(_("description"), max_length=300, blank=True)
    guidelines = models.TextField(
        _("guidelines"), blank=True, help_text=_("Markdown. Shown to labelers beside each pair.")
    )
    question = models.CharField(_("question"), max_length=200, default="Which response is better?")
    votes_per_comparison = models.PositiveSmallIntegerField(
        _("votes per comparison"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(20)],
        help_text=_("How many labelers judge each new comparison."),
    )
    max_votes = models.PositiveSmallIntegerField(
        _("most votes per comparison"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(20)],
        help_text=_("While the votes on a pair disagree, one more is asked for, up to this many. Empty: none more."),
    )
    settled_at = models.FloatField(
        _("certainty at which a pair is settled"),
        default=0.9,
        validators=[MinValueValidator(0.5), MaxValueValidator(0.999)],
        help_text=_("Probability that more than half of all labelers would answer as most did; 0.5 to 0.999."),
    )
    scale = models.CharField(_("scale"), max_length=5, choices=Scale, default=Scale.THREE)
    allows_equal = models.BooleanField(_("offer “both equally good”"), default=False)
    allows_both_bad = models.BooleanField(_("offer “both bad”"), default=False)
    asks_safety = models.BooleanField(
        _("ask which responses are safe"),
        default=False,
        help_text=_(
            "With every answer: both, one or neither. Who prefers an unsafe response to a safe one is asked again, and "
            "such verdicts enter no dataset."
        ),
    )
    rationale = models.CharField(_("reasons in words"), max_length=8, choices=Rationale, default=Rationale.OFF)
    reason_tags = models.JSONField(
        _("reasons to tick"),
        default=list,
        blank=True,
        validators=[check_reason_tags],
        help_text=_("Short ones with commas between them, such as: more correct, better style."),
    )
    allows_rewrite = models.BooleanField(
        _("let labelers rewrite the better response"),
        default=False,
        help_text=_("The rewrite can enter a dataset as better than both."),
    )
    shows_lengths = models.BooleanField(
        _("show the lengths of the responses"), default=False, help_text=_("Words and characters, above each response.")
    )
    repeat_rate = models.FloatField(
        _("share of pairs that come again"),
        default=0.0,
        validators=[MinValueValidator(0.0), MaxValueValidator(0.3)],
        help_text=_(
            "0 to 0.3: so often a labeler gets a pair again that they judged, with its sides swapped. 0: never."
        ),
    )
    repeat_after_days = models.PositiveSmallIntegerField(
        _("days before a pair comes again"),
        default=3,
        validators=[MaxValueValidator(90)],
        help_text=_("A repeat tells of a labeler's consistency once they have forgotten their answer."),
    )
    holds_identity_leaks = models.BooleanField(
        _("hold back pairs in which a response names its model or maker"),
        default=True,
        help_text=_("They wait until a reviewer releases or drops them. Counts for comparisons made from now on."),
    )
    gold_rate = models.FloatField(
        _("share of gold pairs"),
        default=0.0,
        validators=[MinValueValidator(0.0), MaxValueValidator(0.5)],
        help_text=_("How often a labeler gets a pair with a known answer instead of another; 0 to 0.5."),
    )
    qualification_pairs = models.PositiveSmallIntegerField(
        _("gold pairs to qualify"),
        default=0,
        validators=[MaxValueValidator(100)],
        help_text=_("A labeler starts with so many gold pairs. In force once the project has so many; 0: none."),
    )
    gold_bar = models.FloatField(
        _("least mean credit"),
        default=0.7,
        validators=[MinValueValidator(0.05), MaxValueValidator(0.95)],
        help_text=_("On gold pairs, 0.05 to 0.95. Answers by chance get about 0.5. Who is below it is paused."),
    )
    languages = models.JSONField(
        _("languages"),
        default=list,
        blank=True,
        validators=[check_languages],
        help_text=_("Codes with commas between them, such as en, ko: of the texts to be judged."),
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    members = models.ManyToManyField(settings.AUTH_USER_MODEL, through="Membership", related_name="projects")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["parent", "axis"], name="axis_once_in_family"),
            models.CheckConstraint(condition=Q(parent=None) | ~Q(axis=""), name="axis_has_name"),
        ]

    SETTINGS = (
        "description",
        "languages",
        "question",
        "guidelines",
        "scale",
        "allows_equal",
        "allows_both_bad",
        "asks_safety",
        "rationale",
        "reason_tags",
        "allows_rewrite",
        "shows_lengths",
        "holds_identity_leaks",
        "votes_per_comparison",
        "max_votes",
        "settled_at",
    )
    """What whoever leads the project sets and every member may read."""
    LED_SETTINGS = ("gold_rate", "qualification_pairs", "gold_bar", "repeat_rate", "repeat_after_days")
    """The same, but labelers are not told: how they themselves are checked."""

    def __str__(self) -> str:
        return self.name

    @property
    def root_id(self) -> int:
        """The project that holds the prompts and responses: the parent of an axis, else the project itself."""
        return self.parent_id or self.pk

    @property
    def axis_name(self) -> str:
        """What stands on its tab among the family's axes."""
        return self.axis or str(_("Overall"))

    @property
    def choices(self) -> list[Choice]:
        """The answers that labelers may give, those of the rail first, from left to right."""
        grades = Scale(self.scale).grades
        extra = {Choice.EQUAL: self.allows_equal, Choice.BOTH_BAD: self.allows_both_bad}
        return [choice for choice in Choice if choice.grade in grades or extra.get(choice)]


class Role(models.TextChoices):
    """What a member may do besides labeling, each with what those before may."""

    LABELER = "labeler", _("Labeler: compares")
    REVIEWER = "reviewer", _("Reviewer: sees the votes and flags on every pair")
    LEAD = "lead", _("Lead: changes settings and members, sees the datasets")


class Membership(models.Model):
    """Who may label in a project, and in which role. Admins (``is_staff``) need none."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(_("role"), max_length=8, choices=Role, default=Role.LABELER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="one_membership_per_project")]

    def __str__(self) -> str:
        return f"{self.user} in {self.project}"


class GuidelineVersion(models.Model):
    """What labelers were told, as it stood from one change to the next. The newest is also ``Project.guidelines``."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="guideline_versions")
    number = models.PositiveIntegerField(help_text=_("Counts up within the project."))
    text = models.TextField(blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="guidelines_number_in_project")]

    def __str__(self) -> str:
        return f"guidelines {self.number} of {self.project}"


class GuidelineReading(models.Model):
    """A labeler said that they have read a version."""

    version = models.ForeignKey(GuidelineVersion, on_delete=models.CASCADE, related_name="readings")
    labeler = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    read_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "labeler"], name="version_read_once")]

    def __str__(self) -> str:
        return f"{self.labeler} read {self.version}"
