"""What was said in a project."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, QuerySet

from annotate.models import Judgment, Project
from annotate.permissions import is_admin


def list_judgments(project: Project, user: User) -> QuerySet[Judgment]:
    """A labeler's own judgments, everybody's for an admin; each knows whether it ``stands`` or was superseded."""
    judgments = Judgment.objects.filter(project=project).annotate(
        stands=~Exists(Judgment.objects.filter(supersedes=OuterRef("pk")))
    )
    return judgments.select_related("labeler") if is_admin(user) else judgments.filter(labeler=user)
