"""Pairs whose responses name their model: flagged when they are made, held back, released or dropped by a reviewer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from annotate.models import AuditEvent, Choice, Comparison, Flag, Hold, Project
from annotate.selectors.held import count_held, list_held
from annotate.selectors.progress import measure_progress
from annotate.services.assignments import next_comparison
from annotate.services.axes import add_axis
from annotate.services.identity import NotHeldError, drop_comparison, release_comparison, scan_comparisons
from annotate.services.judgments import submit_judgment
from annotate.services.places import reap_expired
from tests.annotate.test_next_comparison import hand_out
from tests.conftest import MakeComparison
from tests.scenery import make_model

Api = Callable[[User], APIClient]
SignIn = Callable[[User], Client]
LEAK = "I am Claude, an assistant made by Anthropic."


@pytest.fixture
def held(make_comparison: MakeComparison) -> Comparison:
    return make_comparison(b=LEAK, need=2)


def test_a_leaking_pair_is_flagged_and_handed_to_nobody(project: Project, labeler: User, held: Comparison) -> None:
    assert (held.hold, held.need, held.held_need) == (Hold.HELD, 0, 2)
    flag = Flag.objects.get(comparison=held)
    assert flag.labeler is None and flag.reason == "identity" and flag.note.startswith("B: I am Claude")
    assert next_comparison(labeler=labeler, project=project) is None
    progress = measure_progress(project, labeler)
    assert (progress.left_for_me, progress.needed) == (0, 0)
    assert list(list_held(project)) == [held] and count_held(project) == 1


def test_a_pair_that_only_mentions_a_maker_is_not(make_comparison: MakeComparison) -> None:
    assert make_comparison(a="OpenAI made ChatGPT.").hold == Hold.NONE
    assert not Flag.objects.exists()


def test_names_of_the_registry_count(make_comparison: MakeComparison, admin: User) -> None:
    make_model(admin, name="Kitchenaid-7B-v2")
    assert make_comparison(a="I am Kitchenaid-7B-v2, your cook.").hold == Hold.HELD


def test_a_project_may_only_flag(project: Project, labeler: User, make_comparison: MakeComparison) -> None:
    project.holds_identity_leaks = False
    pair = make_comparison(a=LEAK)
    assert pair.hold == Hold.NONE and Flag.objects.filter(comparison=pair, labeler=None).exists()
    assert hand_out(labeler, project).comparison == pair


def test_release_gives_the_pair_its_places_back(project: Project, labeler: User, held: Comparison, admin: User) -> None:
    release_comparison(comparison=held, by=admin)
    assert hand_out(labeler, project).comparison == held
    held.refresh_from_db()
    assert (held.hold, held.need, held.taken) == (Hold.NONE, 2, 1)
    assert not Flag.objects.filter(resolved_at=None).exists()
    assert AuditEvent.objects.filter(action="pair_released", number=held.pk).exists()
    with pytest.raises(NotHeldError):
        drop_comparison(comparison=held, by=admin)


def test_a_dropped_pair_never_comes_back(project: Project, labeler: User, held: Comparison, admin: User) -> None:
    drop_comparison(comparison=held, by=admin)
    assert next_comparison(labeler=labeler, project=project) is None
    assert measure_progress(project, labeler).needed == 0 and not list_held(project)
    with pytest.raises(NotHeldError):
        release_comparison(comparison=held, by=admin)


def test_pairs_from_before_are_found_by_the_command(
    project: Project, labeler: User, teammate: User, admin: User, make_comparison: MakeComparison
) -> None:
    project.holds_identity_leaks = False
    project.max_votes = 5
    pair, clean = make_comparison(a=LEAK, need=3), make_comparison()
    Flag.objects.all().delete()
    Project.objects.filter(pk=project.pk).update(holds_identity_leaks=True)
    first, second = hand_out(labeler, project), hand_out(teammate, project)
    assert first.comparison == second.comparison == pair
    out = StringIO()
    call_command("find_identity_leaks", project=project.slug, stdout=out)
    assert out.getvalue() == "2 comparisons read, 1 flagged and held back.\n"
    assert scan_comparisons(project=project, hold=True) == (1, 0)  # what was found before is not read again
    # Whoever has it may answer; a place that comes back opens for nobody, and disagreement asks for nobody.
    submit_judgment(labeler=labeler, project=project, token=first.token, choice=Choice.LEFT_SLIGHTLY)
    reap_expired(now=timezone.now() + timedelta(seconds=settings.ASSIGNMENT_LEASE_SECONDS + 1))
    pair.refresh_from_db()
    assert (pair.hold, pair.taken, pair.need, pair.held_need) == (Hold.HELD, 1, 1, 3)
    assert hand_out(admin, project).comparison == clean
    release_comparison(comparison=pair, by=admin)
    pair.refresh_from_db()
    assert (pair.need, pair.taken) == (3, 1)


def test_reviewers_decide_on_the_page(
    sign_in: SignIn, reviewer: User, labeler: User, held: Comparison, project: Project
) -> None:
    client = sign_in(reviewer)
    assert (
        "1 pair is held back from labelers"
        in client.get(reverse("project_detail", args=[project.slug])).content.decode()
    )
    page = client.get(reverse("held_list", args=[project.slug])).content.decode()
    assert "I am Claude" in page and "found automatically" in page and "Release" in page
    assert "Held back" in client.get(reverse("comparison_detail", args=[held.pk])).content.decode()
    assert client.post(reverse("comparison_release", args=[held.pk])).status_code == 302
    assert (
        "somebody has decided" in client.post(reverse("comparison_drop", args=[held.pk]), follow=True).content.decode()
    )
    held.refresh_from_db()
    assert held.hold == Hold.NONE
    assert "held back" not in sign_in(labeler).get(reverse("project_detail", args=[project.slug])).content.decode()


def test_reviewers_decide_by_the_api(api: Api, reviewer: User, held: Comparison, project: Project) -> None:
    client = api(reviewer)
    (waiting,) = client.get(f"/api/v1/projects/{project.slug}/held/").json()["results"]
    assert (waiting["id"], waiting["flags"][0]["labeler"]) == (held.pk, None)
    address = f"/api/v1/comparisons/{held.pk}/hold/"
    assert client.post(address, {"decision": "think"}).status_code == 400
    assert client.post(address, {"decision": "drop"}).json() == {"id": held.pk, "hold": "dropped"}
    assert client.post(address, {"decision": "release"}).status_code == 409


def test_a_pair_waits_in_all_axes(project: Project, labeler: User, admin: User, held: Comparison, api: Api) -> None:
    axis = add_axis(parent=project, axis="Safety", question="Which one is safer?", by=admin)
    (mirror,) = axis.comparisons.all()
    assert (mirror.hold, mirror.need, mirror.held_need) == (Hold.HELD, 0, 1)
    assert list(list_held(axis)) == [mirror]
    (waiting,) = api(admin).get(f"/api/v1/projects/{axis.slug}/held/").json()["results"]
    assert (waiting["id"], waiting["flags"][0]["reason"]) == (mirror.pk, "identity")
    release_comparison(comparison=mirror, by=admin)
    assert hand_out(labeler, axis).comparison == mirror and hand_out(labeler, project).comparison == held
