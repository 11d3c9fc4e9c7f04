"""Guidelines: each change is a version of its own, and labelers read the newest before they go on."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext as _

from annotate.models import AuditAction, GuidelineReading, GuidelineVersion, Project
from annotate.selectors.guidelines import find_current, find_unread
from annotate.services.answers import JudgmentError
from annotate.services.audit import record


class GuidelinesUnreadError(JudgmentError):
    """Nothing is handed out before the labeler has read ``version``."""

    def __init__(self, version: GuidelineVersion) -> None:
        super().__init__(_("Read version %(number)d of the guidelines first.") % {"number": version.number})
        self.version = version


class GuidelinesChangedError(JudgmentError):
    """What was read is not what stands now."""


@transaction.atomic
def publish_guidelines(*, project: Project, by: User) -> GuidelineVersion | None:
    """Makes the project's text a version where it differs from the newest; None where it does not.

    Locks the project's row.
    """
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    current = find_current(project)
    if project.guidelines == (current.text if current else ""):
        return None
    number = current.number + 1 if current else 1
    version = GuidelineVersion.objects.create(project=project, number=number, text=project.guidelines, created_by=by)
    record(AuditAction.GUIDELINES_PUBLISHED, project=project, by=by, about=version, after={"version": number})
    return version


@transaction.atomic
def acknowledge_guidelines(*, labeler: User, project: Project, number: int) -> GuidelineReading:
    """Notes that the labeler has read the version that stands; twice is once. Raises GuidelinesChangedError."""
    current = find_current(project)
    if current is None or current.number != number:
        raise GuidelinesChangedError(_("The guidelines were changed meanwhile; please read the newest version."))
    return GuidelineReading.objects.get_or_create(version=current, labeler=labeler)[0]


def require_reading(project: Project, labeler: User) -> None:
    """Raises GuidelinesUnreadError where the labeler has not read the newest version."""
    if unread := find_unread(project, labeler):
        raise GuidelinesUnreadError(unread)
