"""Training runs: what was asked for, how it goes, what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from annotate.models import DatasetVersion
from models_registry import turns
from models_registry.machines import Ask
from models_registry.models import Archivable, LeasedWork, ModelVersion, WorkState


class Method(models.TextChoices):
    SFT = "sft", "SFT"
    REWARD = "reward", _("Reward model")
    DPO = "dpo", "DPO"
    IPO = "ipo", "IPO"
    KTO = "kto", "KTO"
    ORPO = "orpo", "ORPO"
    CPO = "cpo", "CPO"
    SIMPO = "simpo", "SimPO"
    ARPO = "arpo", "ARPO"


class Priority(models.IntegerChoices):
    LOW = turns.LOW, _("Low")
    NORMAL = turns.NORMAL, _("Normal")
    HIGH = turns.HIGH, _("High")
    URGENT = turns.URGENT, _("Urgent")


class Sharding(models.TextChoices):
    """How several GPUs share a run; accelerate does it."""

    COPIES = "copies", _("The whole model on each (DDP)")
    SHARDS = "shards", _("The model spread over them (FSDP2)")


@dataclass(frozen=True)
class Layout:
    """How the processes of a run are spread: ``gpus`` on each of ``hosts`` machines."""

    gpus: int = 0
    hosts: int = 1
    sharding: str = Sharding.COPIES

    @property
    def processes_here(self) -> int:
        """On each machine."""
        return max(1, self.gpus)

    @property
    def processes(self) -> int:
        return self.hosts * self.processes_here


class Run(LeasedWork, Archivable):
    """One training run. Its settings were checked by the engine's config; its program lives in ``attempt_folder``."""

    queue = "gpu"
    folder_name = "runs"

    name = models.CharField(_("name"), max_length=100, unique=True)
    method = models.CharField(_("method"), max_length=10, choices=Method)
    base_model = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="runs_from")
    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="runs")
    config = models.JSONField(help_text=_("Hyper-parameters as checked at launch; see training/engine/config.py."))
    checkpoints = models.JSONField(default=list, help_text=_("Those in the object store: epoch, step, key, digest."))
    result = models.JSONField(default=dict)
    model = models.OneToOneField(
        ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="trained_by"
    )
    notes = models.CharField(max_length=300, blank=True)
    recipe = models.CharField(max_length=50, blank=True, help_text=_("Where its settings began; see recipes.py."))
    alerts = models.JSONField(
        default=list, help_text=_("Bad shapes of its curves, found by its worker; see shapes.py.")
    )
    cloned_from = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="clones", help_text=_("See clones.py.")
    )
    limit_hours = models.FloatField(null=True, blank=True, help_text=_("Of active training, over all attempts."))
    limit_gb = models.FloatField(null=True, blank=True, help_text=_("Of all its files, checkpoints included."))
    active_seconds = models.FloatField(default=0)
    disk_bytes = models.BigIntegerField(default=0)

    priority = models.PositiveSmallIntegerField(_("priority"), choices=Priority, default=Priority.NORMAL)
    queued_at = models.DateTimeField(default=timezone.now, help_text=_("Since when it waits; see turns.py."))
    gpus = models.PositiveSmallIntegerField(
        _("GPUs"), default=0, help_text=_("On each machine. 0: one process, with or without a GPU.")
    )
    gpu_memory_gb = models.PositiveIntegerField(_("memory of each GPU (GB)"), default=0)
    label = models.CharField(_("label"), max_length=50, blank=True)
    hosts = models.PositiveSmallIntegerField(_("machines"), default=1, help_text=_("That train it together; gang.py."))
    sharding = models.CharField(max_length=10, choices=Sharding, default=Sharding.COPIES)

    class Meta(LeasedWork.Meta):
        ordering = ["-created_at", "-pk"]
        indexes = [
            *LeasedWork.Meta.indexes,
            # A claim reads all that waits, and what ended lately for the shares of projects; see placement.py.
            models.Index(
                fields=["priority", "queued_at"], name="run_waiting", condition=models.Q(state=WorkState.QUEUED)
            ),
            models.Index(fields=["finished_at"], name="run_ended"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def ask(self) -> Ask:
        """What a worker must have."""
        return Ask(self.gpus, self.gpu_memory_gb, self.label)

    @property
    def layout(self) -> Layout:
        """How its processes are spread."""
        return Layout(self.gpus, self.hosts, self.sharding)


class RunShare(LeasedWork):
    """The part of one attempt at a run that one more machine trains; see gang.py."""

    queue = "gpu"
    folder_name = "run-shares"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="shares")
    run_epoch = models.PositiveIntegerField(help_text=_("The attempt."))
    rank = models.PositiveSmallIntegerField(help_text=_("Of its machine; the run's own worker has 0."))
    ready_at = models.DateTimeField(null=True, help_text=_("Since when its worker has all that it needs."))
    address = models.CharField(max_length=255, blank=True, help_text=_("Where the first machine is met."))
    port = models.PositiveIntegerField(default=0)

    class Meta(LeasedWork.Meta):
        constraints = [models.UniqueConstraint(fields=["run", "run_epoch", "rank"], name="one_share_of_a_rank")]
        ordering = ["run", "run_epoch", "rank"]

    def __str__(self) -> str:
        return f"{self.run} ({self.rank})"


class RunTag(models.Model):
    """A word that groups runs: letters of any script, digits and ``._-``; see run_tags.py."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="tags")
    name = models.CharField(max_length=30)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "name"], name="one_tag_of_a_name_per_run")]
        indexes = [models.Index(fields=["name"], name="runtag_name")]  # runs of a tag
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class RunMetric(models.Model):
    """One line of a run's metrics.jsonl. A resumed attempt overwrites the steps it does again."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="metrics")
    step = models.PositiveIntegerField()
    values = models.JSONField()
    at = models.DateTimeField(null=True, help_text="When it was filed; not known of rows from before this was noted.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "step"], name="one_metric_row_per_step")]
        ordering = ["step"]

    def __str__(self) -> str:
        return f"{self.run} step {self.step}"


class MetricSpan(models.Model):
    """The rows of ``width`` steps from ``start`` on as one, so that long curves are read quickly: curve_levels.py."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="spans")
    width = models.PositiveIntegerField()
    start = models.PositiveIntegerField()
    last = models.PositiveIntegerField(help_text="The last step that has a row.")
    rows = models.PositiveIntegerField()
    at = models.FloatField(null=True, help_text="When the last row was filed, in seconds since 1970.")
    values = models.JSONField(help_text="Of each metric: how many values, mean, lowest, highest.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "width", "start"], name="one_metric_span_per_start")]

    def __str__(self) -> str:
        return f"{self.run} steps {self.start} to {self.start + self.width - 1}"


class ModelPush(LeasedWork):
    """Putting a model where other houses and tools can load it; see pushes.py."""

    queue = "short"
    folder_name = "model-pushes"

    model = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="pushes")
    result = models.JSONField(default=dict, help_text=_("Where it is: url, digest of its manifest, files."))

    class Meta(LeasedWork.Meta):
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"push {self.pk} of {self.model}"


class RunUsage(models.Model):
    """What a run used at a moment of its active time; see limits.py and models_registry/usage.py."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="usage")
    second = models.PositiveIntegerField()
    values = models.JSONField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "second"], name="one_usage_row_per_second")]

    def __str__(self) -> str:
        return f"{self.run} second {self.second}"


class TokenPreview(LeasedWork):
    """What a run with these settings would train on, before it is launched: counted and shown by a program."""

    queue = "short"
    folder_name = "token-previews"

    method = models.CharField(_("method"), max_length=10, choices=Method)
    base_model = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="+")
    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="+")
    config = models.JSONField(help_text=_("Hyper-parameters as checked; see training/engine/config.py."))
    key = models.CharField(max_length=64, help_text=_("Digest of all that the result depends on."))
    result = models.JSONField(default=dict)

    class Meta(LeasedWork.Meta):
        ordering = ["-created_at", "-pk"]
        indexes = [
            *LeasedWork.Meta.indexes,
            models.Index(fields=["key", "-id"], name="tokenpreview_key"),  # the newest of the same settings
        ]

    def __str__(self) -> str:
        return f"token preview {self.pk}"
