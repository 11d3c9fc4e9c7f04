"""What the pages show of projects, their members and their data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.db.models import Count, Exists, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from annotate.models import Assignment, Comparison, Judgment, Membership, Project, Prompt
from annotate.permissions import can_lead, can_review, is_admin, projects_for
from annotate.quality.intervals import Estimate
from annotate.selectors.budget import Forecast, forecast_budget
from annotate.selectors.counted import select_counted
from annotate.selectors.held import count_held
from annotate.selectors.progress import Progress, measure_progress
from annotate.selectors.quality import find_measured


@dataclass(frozen=True)
class Overview:
    """A project's page. ``counts`` is filled for those who lead it, ``held`` for those who review."""

    progress: Progress
    counts: dict[str, int]
    forecast: Forecast | None = None
    held: int = 0


def list_projects(user: User) -> QuerySet[Project]:
    """What this person may see, with their own votes (``mine``); archived projects last, for admins alone.

    An admin also gets the ``done`` places of all ``needed``, for which nobody's gold is counted, other than on a
    labeler's own desk: beside it they would tell which answer was to gold.
    """
    done = Assignment.objects.filter(project=OuterRef("pk"), state=Assignment.State.DONE, holds_place=True)
    needed = Comparison.objects.filter(project=OuterRef("pk"))
    mine = Assignment.objects.filter(project=OuterRef("pk"), labeler=user, state=Assignment.State.DONE)
    projects = projects_for(user).select_related("parent")
    projects = projects.annotate(
        done=_count_per_project(done, Count("pk")),
        needed=_count_per_project(needed, Sum("need")),
        mine=_count_per_project(mine, Count("pk")),
    )
    if not is_admin(user):
        projects = projects.filter(archived_at=None)
    return projects.order_by(F("archived_at").asc(nulls_first=True), "name")


def list_family(project: Project, user: User) -> QuerySet[Project]:
    """Of list_projects those that judge the same pairs: the parent first, then its axes as they were added."""
    family = list_projects(user).filter(Q(pk=project.root_id) | Q(parent=project.root_id))
    return family.order_by(F("parent").asc(nulls_first=True), "pk")


@dataclass(frozen=True)
class AxisRow:
    """A project of a family with Krippendorff's alpha of which response, as last measured; None before that."""

    project: Project
    alpha: Estimate | None
    measured_at: datetime | None


def describe_family(project: Project, user: User) -> list[AxisRow]:
    """The family's rows; alpha where the viewer leads and somebody looked at its quality of late. Measures nothing."""
    rows = []
    for axis in list_family(project, user):
        report = find_measured(axis) if can_lead(user, axis) else None
        alpha = report.alpha_decisions if report and report.repeated else None
        rows.append(AxisRow(axis, alpha, report.measured_at if report else None))
    return rows


def group_families(projects: Iterable[Project]) -> list[tuple[Project, list[Project]]]:
    """Projects in their order, each with its axes; an axis stands by itself where its parent is not among them."""
    listed = list(projects)
    known = {project.pk for project in listed}
    return [
        (project, [axis for axis in listed if axis.parent_id == project.pk])
        for project in listed
        if project.parent_id not in known
    ]


def describe_project(project: Project, user: User) -> Overview:
    """Progress for everybody; pairs held back for reviewers; sizes of the project's rooms for those who lead it."""
    progress = measure_progress(project, user)
    held = count_held(project) if can_review(user, project) else 0
    if not can_lead(user, project):
        return Overview(progress, {}, held=held)
    counts = {
        "comparisons": project.comparisons.count(),
        "prompts": Prompt.objects.filter(project=project.root_id).count(),
        "members": project.memberships.count(),
        "imports": project.imports.count(),
        "datasets": project.dataset_versions.count(),
        "sampling_jobs": project.sampling_jobs.count(),
    }
    return Overview(progress, counts, forecast_budget(project), held)


def list_members(project: Project) -> QuerySet[User]:
    """Members with their ``role`` and the number of their votes that stand (``votes``)."""
    standing = select_counted().filter(project=project, labeler=OuterRef("pk"))
    counted = standing.order_by().values("labeler").annotate(total=Count("pk"))
    votes = Coalesce(Subquery(counted.values("total"), output_field=IntegerField()), 0)
    members = User.objects.filter(memberships__project=project)
    return members.annotate(votes=votes, role=F("memberships__role")).order_by("username")


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
