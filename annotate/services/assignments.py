"""Handing comparisons out: a labeler holds one pair of a project at a time, under a lease.

A lease that ends gives its place back, but not its token: an answer that comes later is still taken
(see annotate/services/judgments.py).
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from annotate.models import Assignment, Comparison, Project
from annotate.selectors.shown_pair import describe_pair, hash_pair
from annotate.services.drafts import drop_old_drafts
from annotate.services.guidelines import require_reading
from annotate.services.places import lock_labeler, reap_expired
from annotate.services.standing import require_standing
from annotate.services.stream import Turn, draw_turn

_TEXTS = ("prompt", "response_a", "response_b")


def next_comparison(
    *, labeler: User, project: Project, now: datetime | None = None, foreseen: int | None = None
) -> Assignment | None:
    """The labeler's pair: the one they hold, else the next open one; None where nothing is left for them.

    Of ordinary pairs the ``foreseen`` one (see ahead.py) comes first, if it is still open.

    Raises GuidelinesUnreadError where the labeler has not read the newest guidelines, PausedError where they get no
    pairs. Ends expired leases first. Locks the labeler's row, then the comparison that is handed out.
    """
    now = now or timezone.now()
    require_reading(project, labeler)
    require_standing(project, labeler)
    if reap_expired(now=now):
        drop_old_drafts(now=now)  # only of a pair whose lease ended does one stay behind
    with transaction.atomic():
        lock_labeler(labeler)
        lease = Assignment.objects.filter(labeler=labeler, project=project, state=Assignment.State.LEASED)
        # Zero rows also where somebody ended this lease a moment ago.
        if lease.update(expires_at=get_expiry(now)):
            return load_assignment(lease.get().pk)
        turn = None if project.archived_at else draw_turn(project, labeler, now, foreseen)
        return lease_turn(turn, project, labeler, now) if turn else None


def extend_lease(*, labeler: User, project: Project, token: UUID, now: datetime | None = None) -> datetime | None:
    """The heartbeat of somebody who still reads: the lease's new end, or None where it is over already."""
    expires_at = get_expiry(now or timezone.now())
    with transaction.atomic():
        alive = Assignment.objects.filter(
            labeler=labeler, project=project, token=token, state=Assignment.State.LEASED
        ).update(expires_at=expires_at)
    return expires_at if alive else None


def lease_turn(turn: Turn, project: Project, labeler: User, now: datetime) -> Assignment:
    """The lease of a pair that the caller has just drawn, with its place where it takes one.

    A pair whose lease had ended comes back with its sides and its token: nothing was said with that token yet, and an
    answer may still be on its way.
    """
    handed_out = {
        "kind": turn.kind,
        "holds_place": turn.kind == Assignment.Kind.ORDINARY,
        "state": Assignment.State.LEASED,
        "expires_at": get_expiry(now),
        "pair_propensity": turn.propensity,
    }
    # The labeler's own lock is held: nobody adds or changes the row in between.
    assignment = find_row(turn, labeler)
    assignment.project = project
    assignment.comparison = Comparison.objects.select_related(*_TEXTS).get(pk=turn.comparison.pk)
    for name, value in handed_out.items():
        setattr(assignment, name, value)
    note_display(assignment, now)
    assignment.save()
    return assignment


def find_row(turn: Turn, labeler: User) -> Assignment:
    """The assignment of this turn from before, or a new one with its sides, not stored.

    A repeat has a row of its own, the other way round than the first one: no coin is tossed for it.
    """
    rows = Assignment.objects.filter(comparison=turn.comparison, labeler=labeler)
    firsts, repeats = rows.exclude(kind=Assignment.Kind.REPEAT), rows.filter(kind=Assignment.Kind.REPEAT)
    if turn.kind == Assignment.Kind.REPEAT:
        first = firsts.get()
        left, seed, chance = "b" if first.left_response == "a" else "a", first.seed, 1.0
        row = repeats.first()
    else:
        seed = draw_seed(turn.comparison.pk, labeler.pk)
        left, chance = draw_left(seed), 0.5
        row = firsts.first()
    return row or Assignment(labeler=labeler, left_response=left, seed=seed, side_propensity=chance)


def show_again(assignment: Assignment, now: datetime) -> Assignment:
    """Notes that a pair which was answered is being shown once more; call it with the labeler's lock."""
    note_display(assignment, now)
    assignment.save(update_fields=["leased_at", "position", "render_hash"])
    return assignment


def note_display(assignment: Assignment, now: datetime) -> None:
    """Sets when the pair is shown, as which of the labeler's in the project, and what the page draws of it."""
    mine = Assignment.objects.filter(labeler=assignment.labeler_id, project=assignment.project_id)
    last = mine.order_by("-position").values_list("position", flat=True).first()
    assignment.leased_at, assignment.position = now, (last or 0) + 1
    assignment.render_hash = hash_pair(describe_pair(assignment))


def draw_seed(comparison_id: int, labeler_id: int) -> int:
    """62 bits that the server alone can tell: the same before and after a pair is handed out (see ahead.py)."""
    digest = salted_hmac("annotate.sides", f"{comparison_id}:{labeler_id}", algorithm="sha256").digest()
    return int.from_bytes(digest[:8], "big") >> 2


def draw_left(seed: int) -> str:
    """Which response, ``a`` or ``b``, stands on the left: a fair coin that the recorded seed tosses again."""
    return random.Random(seed).choice("ab")


def get_expiry(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.ASSIGNMENT_LEASE_SECONDS)


def load_assignment(pk: int) -> Assignment:
    """The assignment with all that is needed to show it."""
    texts = (f"comparison__{name}" for name in _TEXTS)
    return Assignment.objects.select_related("project", *texts).get(pk=pk)
