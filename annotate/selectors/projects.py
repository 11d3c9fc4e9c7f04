"""What the pages show of projects, their members and their data."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.models import Count, Exists, IntegerField, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from annotate.models import Assignment, Comparison, Judgment, Membership, Project
from annotate.permissions import is_admin, projects_for
from annotate.selectors.progress import Progress, measure_progress


@dataclass(frozen=True)
class Overview:
    """A project's page. ``counts`` is filled for admins alone."""

    progress: Progress
    counts: dict[str, int]


def list_projects(user: User) -> QuerySet[Project]:
    """What this person may see, with ``done`` places of all ``needed``; archived projects last, for admins alone."""
    done = Assignment.objects.filter(project=OuterRef("pk"), state=Assignment.State.DONE, holds_place=True)
    needed = Comparison.objects.filter(project=OuterRef("pk"))
    projects = projects_for(user).annotate(
        done=_count_per_project(done, Count("pk")), needed=_count_per_project(needed, Sum("need"))
    )
    if not is_admin(user):
        projects = projects.filter(archived_at=None)
    return projects.order_by("archived_at", "name")


def describe_project(project: Project, user: User) -> Overview:
    """Progress for everybody; sizes of the project's rooms for admins."""
    progress = measure_progress(project, user)
    if not is_admin(user):
        return Overview(progress, {})
    counts = {
        "comparisons": project.comparisons.count(),
        "prompts": project.prompts.count(),
        "members": project.memberships.count(),
        "imports": project.imports.count(),
        "datasets": project.dataset_versions.count(),
        "sampling_jobs": project.sampling_jobs.count(),
    }
    return Overview(progress, counts)


def list_members(project: Project) -> QuerySet[User]:
    """Members with the number of their votes that stand (``votes``)."""
    standing = Judgment.objects.filter(project=project, labeler=OuterRef("pk"), action=Judgment.Action.VOTE)
    counted = standing.filter(superseded_by=None).order_by().values("labeler").annotate(total=Count("pk"))
    votes = Coalesce(Subquery(counted.values("total"), output_field=IntegerField()), 0)
    return User.objects.filter(memberships__project=project).annotate(votes=votes).order_by("username")


def list_invitable(project: Project) -> QuerySet[User]:
    """Active accounts that are not yet members."""
    member = Membership.objects.filter(project=project, user=OuterRef("pk"))
    return User.objects.filter(~Exists(member), is_active=True).order_by("username")


def list_judges(project: Project) -> QuerySet[User]:
    """Everybody who said something in the project, and its members."""
    said = Judgment.objects.filter(project=project, labeler=OuterRef("pk"))
    return User.objects.filter(Q(Exists(said)) | Q(memberships__project=project)).distinct().order_by("username")


def _count_per_project(rows: QuerySet[Assignment] | QuerySet[Comparison], value: Count | Sum) -> Coalesce:
    total = rows.order_by().values("project").annotate(total=value).values("total")
    return Coalesce(Subquery(total, output_field=IntegerField()), 0)
