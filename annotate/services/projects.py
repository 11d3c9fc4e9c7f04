"""Projects and who may label in them."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext as _

from annotate.models import Membership, Project

RESERVED_SLUGS = frozenset({"new"})
"""Words that stand in addresses where a project's short name would."""


class ProjectError(ValueError):
    """These values make no project; ``field`` is the one to mend."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


def create_project(*, project: Project, by: User) -> Project:
    """Stores a new project; without a short name it gets one made of its name. Raises ProjectError."""
    project.created_by = by
    project.slug = project.slug or _find_free_slug(project.name)
    if project.slug in RESERVED_SLUGS:
        raise ProjectError("slug", _("This short name is taken by a page."))
    try:
        with transaction.atomic():
            project.save(force_insert=True)
    except IntegrityError as error:
        raise ProjectError("name", _("A project of this name was made in this moment.")) from error
    return project


@transaction.atomic
def update_project(*, project: Project, archived: bool) -> Project:
    """Stores changed values. Votes per comparison count for comparisons made from now on."""
    if archived != bool(project.archived_at):
        project.archived_at = timezone.now() if archived else None
    project.save()
    return project


@transaction.atomic
def add_member(*, project: Project, user: User) -> bool:
    """Lets somebody label in the project; False when they could before."""
    return Membership.objects.get_or_create(project=project, user=user)[1]


@transaction.atomic
def remove_member(*, project: Project, user: User) -> bool:
    """Ends somebody's access; what they judged stays. False when they had none."""
    return bool(Membership.objects.filter(project=project, user=user).delete()[0])


def _find_free_slug(name: str) -> str:
    base = slugify(name)[:50].strip("-") or "project"
    taken = set(Project.objects.filter(slug__startswith=base).values_list("slug", flat=True)) | RESERVED_SLUGS
    return next(slug for slug in (base, *(f"{base}-{n}" for n in range(2, 10_000))) if slug not in taken)
