"""What was said in a project."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, QuerySet

from annotate.models import Judgment, Project
from annotate.permissions import can_review


def list_judgments(project: Project, user: User) -> QuerySet[Judgment]:
    """A labeler's own judgments, everybody's for a reviewer; each knows whether it ``stands`` or was superseded."""
    judgments = (
        Judgment.objects.filter(project=project)
        .annotate(stands=~Exists(Judgment.objects.filter(supersedes=OuterRef("pk"))))
        .select_related("labeler", "rewrite", "guidelines")
    )
    return judgments if can_review(user, project) else judgments.filter(labeler=user)
