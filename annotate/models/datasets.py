"""Frozen datasets: a rule in, files with digests out, and the judgments they were made of."""

from __future__ import annotations

from pathlib import Path

from django.db import models
from django.utils.translation import gettext_lazy as _

from annotate.models.judging import Judgment
from annotate.models.projects import Project
from models_registry.models import Archivable, LeasedWork


class DatasetVersion(LeasedWork, Archivable):
    """Immutable once finished. Judgments after ``judgment_cutoff`` do not count, so a rebuild gives the same bytes."""

    queue = "short"
    folder_name = "datasets"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="dataset_versions")
    number = models.PositiveIntegerField(help_text=_("Counts up within the project."))
    rule = models.JSONField(help_text=_("Filter, aggregation, split; see annotate/services/datasets.py."))
    judgment_cutoff = models.BigIntegerField()
    adjudication_cutoff = models.BigIntegerField(default=0)
    notes = models.CharField(max_length=300, blank=True)
    train_rows = models.PositiveIntegerField(default=0)
    eval_rows = models.PositiveIntegerField(default=0)
    train_sha256 = models.CharField(max_length=64, blank=True)
    eval_sha256 = models.CharField(max_length=64, blank=True)
    counts = models.JSONField(default=dict, help_text=_("Rows by grade, votes used, prompts, labelers."))
    left_out = models.JSONField(default=dict, help_text=_("Reason: how many comparisons."))
    judgments = models.ManyToManyField(Judgment, through="DatasetVersionJudgment", related_name="dataset_versions")

    class Meta(LeasedWork.Meta):
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="dataset_number_in_project")]
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.project.name} v{self.number}"

    @property
    def train_path(self) -> Path:
        return self.folder / "train.jsonl"

    @property
    def eval_path(self) -> Path:
        return self.folder / "eval.jsonl"


class DatasetVersionJudgment(models.Model):
    """Which votes a version rests on: the walk from a checkpoint back to single judgments, and forward again."""

    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="votes")
    judgment = models.ForeignKey(Judgment, on_delete=models.PROTECT, related_name="uses")
    split = models.CharField(max_length=5, choices=[("train", "train"), ("eval", "eval")])

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dataset_version", "judgment"], name="vote_once_per_version")]

    def __str__(self) -> str:
        return f"{self.judgment} in {self.dataset_version}"
