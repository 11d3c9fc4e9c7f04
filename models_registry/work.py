"""Work that outlives a request: one row, one state, one owner at a time.

The database owns the truth; the broker only wakes workers up. A row is taken by compare-and-swap, which raises its
``epoch``; everything the owner writes later names that epoch, so an owner that lost its lease writes nothing.
The services that move these rows are in ``models_registry/leases.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class WorkState(models.TextChoices):
    QUEUED = "queued", _("Waiting for a worker")
    RUNNING = "running", _("Running")
    PAUSED = "paused", _("Paused")
    FINISHED = "finished", _("Finished")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


class LeasedWork(models.Model):
    """Something a worker does: importing, freezing a dataset, sampling, preparing a model, training."""

    queue: ClassVar[str]
    """``short`` for work of seconds in the worker itself, ``gpu`` for programs in a subprocess."""
    folder_name: ClassVar[str]
    """Folder below DATA_DIR that holds one folder for each row."""

    state = models.CharField(max_length=10, choices=WorkState, default=WorkState.QUEUED)
    epoch = models.PositiveIntegerField(default=0)
    owner = models.CharField(max_length=200, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    cancel_requested = models.BooleanField(default=False)
    pause_requested = models.BooleanField(default=False)
    crashes = models.PositiveSmallIntegerField(default=0)

    step = models.PositiveIntegerField(default=0)
    total_steps = models.PositiveIntegerField(default=0)
    seconds_left = models.PositiveIntegerField(null=True, blank=True)
    message = models.CharField(max_length=500, blank=True)
    cause_code = models.CharField(max_length=50, blank=True)
    cause = models.TextField(blank=True)
    log_tail = models.TextField(blank=True)

    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    hinted_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True
        indexes = [
            # The reconciler and every claim ask for the rows that are not yet done.
            models.Index(
                fields=["state", "created_at"],
                name="%(class)s_todo",
                condition=models.Q(state__in=["queued", "running"]),
            )
        ]

    @property
    def folder(self) -> Path:
        """Where this row's files are; made of the row's number alone, never of what a person typed."""
        return Path(settings.DATA_DIR) / self.folder_name / str(self.pk)

    @property
    def attempt_folder(self) -> Path:
        """Each owner writes into a folder of its own, so that a fenced-off one spoils nothing."""
        return self.folder / f"attempt-{self.epoch}"

    @property
    def is_over(self) -> bool:
        return self.state in {WorkState.FINISHED, WorkState.FAILED, WorkState.CANCELLED}

    @property
    def is_at_rest(self) -> bool:
        """Nothing will happen to it until a person acts: over, or paused."""
        return self.is_over or self.state == WorkState.PAUSED
