"""Projects and who may label in them."""

from __future__ import annotations

from copy import copy
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext as _

from annotate.models import AuditAction, Membership, Project, Role
from annotate.services.audit import record, record_change
from annotate.services.guidelines import publish_guidelines
from annotate.services.overlap import reopen_unsettled

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
            record(AuditAction.PROJECT_CREATED, project=project, by=by, about=project)
            publish_guidelines(project=project, by=by)
    except IntegrityError as error:
        raise ProjectError("name", _("A project of this name was made in this moment.")) from error
    return project


def update_project(*, project: Project, archived: bool, by: User) -> Project:
    """Stores changed values; changed guidelines become a version, which labelers read before they go on.

    Votes per comparison count for comparisons made from now on. Another rule of when a pair is settled holds for
    complete pairs too: they are looked at again once it is stored. Axes take part in their parent's name, and are
    archived and opened with it. Locks the project's row and its axes'. Raises ProjectError.
    """
    if archived != bool(project.archived_at):
        project.archived_at = timezone.now() if archived else None
    with transaction.atomic():
        before = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        _check_family(project)
        _store_settings(project, before, by)
        _carry_axes(project, before.archived_at, by)
        publish_guidelines(project=project, by=by)
    if (before.max_votes, before.settled_at) != (project.max_votes, project.settled_at):
        reopen_unsettled(project)
    return project


@transaction.atomic
def add_member(*, project: Project, user: User, role: Role = Role.LABELER, by: User) -> bool:
    """Lets somebody into the project in a role; who is a member gets that role. False where nothing changed.

    Axes go with it: a new member enters each of them, and another role is theirs wherever they had the old one. Where
    an axis gave them a role of its own, or let them go, it stays so. Locks the project's row.
    """
    _lock_members(project)
    before = _find_role(project, user)
    if before == role:
        return False
    _set_role(project, user, before, role, by)
    for axis in project.axes.order_by("pk"):
        if _find_role(axis, user) == before:
            _set_role(axis, user, before, role, by)
    return True


@transaction.atomic
def remove_member(*, project: Project, user: User, by: User) -> bool:
    """Ends somebody's access, to the axes of the project too; what they judged stays. False when they had none.

    Locks the project's row.
    """
    _lock_members(project)
    if _find_role(project, user) is None:
        return False
    for place in (project, *project.axes.order_by("pk")):
        role = _find_role(place, user)
        if role is not None:
            Membership.objects.filter(project=place, user=user).delete()
            record(AuditAction.MEMBER_REMOVED, project=place, by=by, about=user, before={"role": role})
    return True


def _lock_members(project: Project) -> None:
    """Who adds an axis copies the members under the same lock, so that none is missed."""
    Project.objects.select_for_update(no_key=True).get(pk=project.root_id)


def _find_role(project: Project, user: User) -> str | None:
    return Membership.objects.filter(project=project, user=user).values_list("role", flat=True).first()


def _set_role(project: Project, user: User, before: str | None, role: Role, by: User) -> None:
    Membership.objects.update_or_create(project=project, user=user, defaults={"role": role})
    if before is None:
        record(AuditAction.MEMBER_ADDED, project=project, by=by, about=user, after={"role": role})
    else:
        was, now = {"role": before}, {"role": role}
        record(AuditAction.ROLE_CHANGED, project=project, by=by, about=user, before=was, after=now)


def name_axis(parent: Project, axis: str) -> str:
    """An axis is named after its project, whose own name gives way where both do not fit."""
    room = (Project._meta.get_field("name").max_length or 0) - len(axis) - 2
    return f"{parent.name[:room]}: {axis}"


def check_axis(project: Project) -> None:
    """Raises ProjectError for an axis without a name, or with one that its family or another project has."""
    if not project.parent:
        if project.pk and project.axis and project.axes.filter(axis=project.axis).exists():
            raise ProjectError("axis", _("Another axis of this project has this name."))
        return
    if not project.axis.strip():
        raise ProjectError("axis", _("An axis needs a name."))
    siblings = Project.objects.filter(parent=project.parent).exclude(pk=project.pk)
    if project.parent.axis_name == project.axis or siblings.filter(axis=project.axis).exists():
        raise ProjectError("axis", _("Another axis of this project has this name."))
    _check_name(project)


def _check_family(project: Project) -> None:
    """Names an axis as its parent is named now. Raises ProjectError where that, or its state, does not go together."""
    if project.parent:
        project.name = name_axis(project.parent, project.axis)
        if project.parent.archived_at and not project.archived_at:
            raise ProjectError("archived", _("The project of this axis is archived; open that one."))
    check_axis(project)


def _check_name(project: Project) -> None:
    if Project.objects.filter(name=project.name).exclude(pk=project.pk).exists():
        raise ProjectError("axis", _("Another project is named “%(name)s”.") % {"name": project.name})


def _carry_axes(project: Project, archived_before: datetime | None, by: User) -> None:
    """Axes that were open or archived as their parent was stay with it; one archived by itself stays archived."""
    for axis in project.axes.select_for_update(no_key=True).order_by("pk"):
        before = copy(axis)
        axis.name = name_axis(project, axis.axis)
        if axis.archived_at == archived_before:
            axis.archived_at = project.archived_at
        _check_name(axis)
        _store_settings(axis, before, by)


def _store_settings(project: Project, before: Project, by: User) -> None:
    project.save()
    was, now = _describe_settings(before), _describe_settings(project)
    record_change(AuditAction.PROJECT_CHANGED, project=project, by=by, about=project, before=was, after=now)


def _describe_settings(project: Project) -> dict[str, Any]:
    """All that can be set, but the guidelines, whose versions are recorded on their own."""
    fields = (field.attname for field in Project._meta.concrete_fields)
    return {name: getattr(project, name) for name in fields if name != "guidelines"}


def _find_free_slug(name: str) -> str:
    base = slugify(name)[:50].strip("-") or "project"
    taken = set(Project.objects.filter(slug__startswith=base).values_list("slug", flat=True)) | RESERVED_SLUGS
    return next(slug for slug in (base, *(f"{base}-{n}" for n in range(2, 10_000))) if slug not in taken)
