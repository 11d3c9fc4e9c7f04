"""What can be put away: hidden from lists and choices, never deleted, and restorable."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class Archivable(models.Model):
    """Moved by training/archiving.py alone, which also keeps who did what."""

    archived_at = models.DateTimeField(null=True, blank=True)
    archived_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    archive_reason = models.CharField(_("reason"), max_length=300, blank=True)

    class Meta:
        abstract = True
