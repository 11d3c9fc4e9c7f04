"""What is compared: a prompt (a whole dialogue), its responses, and pairs of them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from annotate.models.projects import Project


class Prompt(models.Model):
    """A dialogue that waits for the assistant's next turn."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="prompts")
    messages = models.JSONField(help_text=_("List of {role, content}; the last one is not the assistant's."))
    digest = models.CharField(max_length=64, help_text=_("SHA-256 of the canonical JSON of the messages."))
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "digest"], name="one_prompt_per_text")]

    def __str__(self) -> str:
        return f"prompt {self.pk}"


class Response(models.Model):
    """One answer to a prompt. Where it came from is never shown to labelers."""

    REWRITE = "rewrite"
    """The origin of a labeler's own better version of a response."""

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="responses")
    text = models.TextField()
    model = models.ForeignKey(
        "models_registry.ModelVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="responses"
    )
    origin = models.CharField(max_length=200, blank=True, help_text=_("For imported responses: their source."))
    labeler = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="rewrites",
        help_text=_("Who wrote it, where a labeler rewrote a response."),
    )
    sampling = models.JSONField(default=dict, help_text=_("Temperature, top-p, seed, tokens, how it ended."))
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"response {self.pk}"


class ResponseScore(models.Model):
    """What a reward model thinks of a response."""

    response = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="scores")
    model = models.ForeignKey("models_registry.ModelVersion", on_delete=models.CASCADE, related_name="scores")
    score = models.FloatField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["response", "model"], name="one_score_per_model")]

    def __str__(self) -> str:
        return f"{self.score:.3f}"


class Hold(models.TextChoices):
    """Whether a pair is kept from labelers. A pair that is kept has no open place: its need is what it has taken."""

    NONE = "", _("Open")
    HELD = "held", _("Held back")
    DROPPED = "dropped", _("Dropped")


class Comparison(models.Model):
    """A pair to be judged by ``need`` labelers; ``taken`` counts live leases and votes that fill a place."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="comparisons")
    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="comparisons")
    response_a = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="+")
    response_b = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="+")
    need = models.PositiveSmallIntegerField(default=1)
    taken = models.PositiveSmallIntegerField(default=0)
    priority = models.SmallIntegerField(default=0, help_text=_("Higher ones are handed out first."))
    hold = models.CharField(
        max_length=7,
        choices=Hold,
        default=Hold.NONE,
        blank=True,
        help_text=_("Whether somebody must look at the pair before labelers see it, or decided that none will."),
    )
    held_need = models.PositiveSmallIntegerField(
        default=0, help_text=_("While held: the need to come back to. Until then no place is open.")
    )
    recorded_winner = models.CharField(
        max_length=1, blank=True, choices=[("a", "a"), ("b", "b")], help_text=_("Winner named by the imported file.")
    )
    source_import = models.ForeignKey(
        "annotate.Import", null=True, blank=True, on_delete=models.SET_NULL, related_name="comparisons"
    )
    sampling_job = models.ForeignKey(
        "annotate.SamplingJob", null=True, blank=True, on_delete=models.SET_NULL, related_name="comparisons"
    )
    original = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="mirrors",
        db_index=False,
        help_text=_("In an axis: the parent's comparison of the same two responses."),
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            # Also finds a pair's mirrors.
            models.UniqueConstraint(
                fields=["original", "project"], name="mirrored_once", condition=Q(original__isnull=False)
            ),
            models.CheckConstraint(condition=Q(taken__lte=F("need")), name="taken_within_need"),
            models.CheckConstraint(condition=~Q(response_a=F("response_b")), name="two_different_responses"),
        ]
        indexes = [
            # The next pair of a project: open ones, by priority, then age.
            models.Index(
                fields=["project", "-priority", "id"], name="comparison_open", condition=Q(taken__lt=F("need"))
            ),
            # Progress: how many votes a project needs in all.
            models.Index(fields=["project", "need"], name="comparison_need"),
            # Pairs that wait for a reviewer.
            models.Index(fields=["project"], name="comparison_held", condition=Q(hold="held")),
        ]

    def __str__(self) -> str:
        return f"comparison {self.pk}"

    @property
    def root_id(self) -> int:
        """What the same pair is called in all axes: the number of the parent's comparison."""
        return self.original_id or self.pk
