"""Which guidelines stand, and which of them a labeler has read."""

from __future__ import annotations

from django.contrib.auth.models import User

from annotate.models import GuidelineReading, GuidelineVersion, Project


def find_current(project: Project) -> GuidelineVersion | None:
    """The newest version; None before there was one."""
    return project.guideline_versions.order_by("-number").first()


def find_unread(project: Project, labeler: User) -> GuidelineVersion | None:
    """The newest version where the labeler must still read it; None where they have, or nothing is written."""
    current = find_current(project)
    if current is None or not current.text.strip() or current.readings.filter(labeler=labeler).exists():
        return None
    return current


def find_last_read(project: Project, labeler: User) -> GuidelineVersion | None:
    """The newest version that the labeler has read: what they judge by."""
    readings = GuidelineReading.objects.filter(labeler=labeler, version__project=project).select_related("version")
    newest = readings.order_by("-version__number").first()
    return newest.version if newest else None
