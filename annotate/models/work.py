"""Work in the background that belongs to a project."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from annotate.models.projects import Project
from models_registry.models import LeasedWork


class Import(LeasedWork):
    """A file of comparisons or prompts on its way in; all of its good lines enter in one transaction."""

    class Format(models.TextChoices):
        PAIRS = "pairs", _("Preference pairs (JSONL)")
        HH_RLHF = "hh-rlhf", _("Anthropic HH-RLHF (JSONL)")
        PROMPTS = "prompts", _("Prompts only (JSONL)")
        VOTES = "votes", _("Preference pairs with votes from elsewhere (JSONL)")

    class OnBadLine(models.TextChoices):
        REJECT = "reject", _("Import nothing if any line is bad")
        LEAVE_OUT = "leave_out", _("Leave bad lines out and report them")

    queue = "short"
    folder_name = "imports"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="imports")
    format = models.CharField(_("format"), max_length=10, choices=Format)
    on_bad_line = models.CharField(_("bad lines"), max_length=10, choices=OnBadLine, default=OnBadLine.REJECT)
    file_name = models.CharField(max_length=200, help_text=_("As the person's browser named it; for display alone."))
    bytes = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    report = models.JSONField(default=dict)

    class Meta(LeasedWork.Meta):
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return self.file_name


class SamplingJob(LeasedWork):
    """Two responses for each of a set of prompts, from one model or two, which become comparisons."""

    queue = "gpu"
    folder_name = "sampling"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="sampling_jobs")
    model_a = models.ForeignKey("models_registry.ModelVersion", on_delete=models.PROTECT, related_name="+")
    model_b = models.ForeignKey("models_registry.ModelVersion", on_delete=models.PROTECT, related_name="+")
    temperature_a = models.FloatField(
        _("temperature, first"), default=0.7, validators=[MinValueValidator(0.0), MaxValueValidator(2.0)]
    )
    temperature_b = models.FloatField(
        _("temperature, second"), default=1.0, validators=[MinValueValidator(0.0), MaxValueValidator(2.0)]
    )
    top_p = models.FloatField("top-p", default=0.95, validators=[MinValueValidator(0.05), MaxValueValidator(1.0)])
    max_new_tokens = models.PositiveIntegerField(
        _("longest response, tokens"), default=128, validators=[MinValueValidator(8), MaxValueValidator(4096)]
    )
    seed = models.PositiveIntegerField(_("seed"), default=0)
    ask_first = models.BooleanField(
        _("hand these pairs out first"),
        default=True,
        help_text=_("Before the pairs that wait already: the newest model's answers teach the most."),
    )
    prompts = models.ManyToManyField("annotate.Prompt", related_name="sampling_jobs")
    reward_model = models.ForeignKey(
        "models_registry.ModelVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta(LeasedWork.Meta):
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"sampling {self.pk}"


class ScoringJob(LeasedWork):
    """A reward model scores every response of a project that it has not scored yet."""

    queue = "gpu"
    folder_name = "scoring"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="scoring_jobs")
    model = models.ForeignKey("models_registry.ModelVersion", on_delete=models.PROTECT, related_name="+")

    class Meta(LeasedWork.Meta):
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"scoring {self.pk}"
