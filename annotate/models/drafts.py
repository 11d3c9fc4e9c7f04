"""What labelers have begun to say of their pairs and not submitted yet."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from annotate.models.answers import Choice, Safety
from annotate.models.judging import Assignment


class Draft(models.Model):
    """One for each pair of a labeler, seen by nobody else: no vote, no part of any dataset or export.

    It goes with the answer. One that a slow request brings later names a token that was used, and says nothing.
    """

    assignment = models.OneToOneField(Assignment, on_delete=models.CASCADE, related_name="draft")
    token = models.UUIDField(help_text=_("The assignment's token when this was begun."))
    choice = models.CharField(max_length=19, choices=Choice, blank=True)
    safety = models.CharField(max_length=7, choices=Safety, blank=True)
    reason_tags = models.JSONField(default=list, blank=True)
    rationale = models.TextField(blank=True)
    rewrite = models.TextField(blank=True)
    seconds = models.FloatField(default=0.0, help_text=_("At work on the pair until then."))
    updated_at = models.DateTimeField(help_text=_("When its labeler last touched it."))

    class Meta:
        indexes = [
            # Dropping what is old.
            models.Index(fields=["updated_at"], name="draft_age"),
        ]

    def __str__(self) -> str:
        return f"draft {self.pk}"

    @property
    def says_something(self) -> bool:
        return any((self.choice, self.safety, self.reason_tags, self.rationale, self.rewrite))
