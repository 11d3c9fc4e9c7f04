"""Handing comparisons out: a labeler holds one pair of a project at a time, under a lease.

A lease that ends gives its place back, but not its token: an answer that comes later is still taken
(see annotate/services/judgments.py).
"""

from __future__ import annotations

import random
import secrets
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from annotate.models import Assignment, Comparison, Project
from annotate.services.places import lock_labeler, reap_expired, take_next_comparison


def next_comparison(*, labeler: User, project: Project, now: datetime | None = None) -> Assignment | None:
    """The labeler's pair: the one they hold, else the next open one; None where nothing is left for them.

    Ends expired leases first. Locks the labeler's row, then the comparison that is handed out.
    """
    now = now or timezone.now()
    reap_expired(now=now)
    with transaction.atomic():
        lock_labeler(labeler)
        lease = Assignment.objects.filter(labeler=labeler, project=project, state=Assignment.State.LEASED)
        # Zero rows also where somebody ended this lease a moment ago.
        if lease.update(expires_at=get_expiry(now)):
            return load_assignment(lease.get().pk)
        comparison = None if project.archived_at else take_next_comparison(project, labeler)
        return lease_comparison(comparison, labeler, now) if comparison else None


def extend_lease(*, labeler: User, project: Project, token: UUID, now: datetime | None = None) -> datetime | None:
    """The heartbeat of somebody who still reads: the lease's new end, or None where it is over already."""
    expires_at = get_expiry(now or timezone.now())
    with transaction.atomic():
        alive = Assignment.objects.filter(
            labeler=labeler, project=project, token=token, state=Assignment.State.LEASED
        ).update(expires_at=expires_at)
    return expires_at if alive else None


def lease_comparison(comparison: Comparison, labeler: User, now: datetime) -> Assignment:
    """The lease of a comparison whose place the caller has just taken.

    A pair whose lease had ended comes back with its sides and its token: nothing was said with that token yet, and an
    answer may still be on its way.
    """
    seed = secrets.randbits(62)
    assignment, _created = Assignment.objects.update_or_create(
        comparison=comparison,
        labeler=labeler,
        defaults={
            "state": Assignment.State.LEASED,
            "holds_place": True,
            "leased_at": now,
            "expires_at": get_expiry(now),
        },
        create_defaults={
            "project_id": comparison.project_id,
            "left_response": draw_left(seed),
            "seed": seed,
            "leased_at": now,
            "expires_at": get_expiry(now),
        },
    )
    return load_assignment(assignment.pk)


def draw_left(seed: int) -> str:
    """Which response, ``a`` or ``b``, stands on the left: a fair coin that the recorded seed tosses again."""
    return random.Random(seed).choice("ab")


def get_expiry(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.ASSIGNMENT_LEASE_SECONDS)


def load_assignment(pk: int) -> Assignment:
    """The assignment with all that is needed to show it."""
    return Assignment.objects.select_related(
        "project", "comparison__prompt", "comparison__response_a", "comparison__response_b"
    ).get(pk=pk)
