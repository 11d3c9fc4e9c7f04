"""What the start page shows: the loop, arrow by arrow, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.contrib.auth.models import User
from django.db.models import QuerySet

from annotate.models import Comparison, DatasetVersion, Judgment, Project
from annotate.permissions import projects_for
from models_registry.models import WorkState
from models_registry.selectors import list_usable
from training.models import Run


@dataclass(frozen=True)
class House:
    """``counts`` and ``runs`` are filled for admins alone."""

    projects: QuerySet[Project]
    counts: dict[str, int] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)


def describe_house(user: User) -> House:
    """The labeler's projects; for an admin also the size of each station of the loop and the newest runs."""
    projects = projects_for(user)
    if not user.is_staff:
        return House(projects=projects)
    counts = {
        "comparisons": Comparison.objects.filter(original=None).count(),
        "votes": Judgment.objects.filter(action=Judgment.Action.VOTE, superseded_by=None).count(),
        "datasets": DatasetVersion.objects.filter(state=WorkState.FINISHED).count(),
        "runs": Run.objects.count(),
        "models": list_usable().count(),
    }
    runs = list(Run.objects.filter(archived_at=None).select_related("base_model", "dataset_version__project")[:5])
    return House(projects=projects, counts=counts, runs=runs)
