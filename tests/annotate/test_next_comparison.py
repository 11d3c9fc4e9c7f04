"""Handing out: rule, API. The page is in test_compare_page.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.test import APIClient

from annotate.models import Assignment, Choice, Comparison, Project, SkipReason
from annotate.services.assignments import draw_left, extend_lease, next_comparison
from annotate.services.judgments import skip_comparison, submit_judgment
from annotate.services.places import REAP_AT_ONCE, reap_expired
from tests.conftest import MakeComparison

LATER = timedelta(seconds=settings.ASSIGNMENT_LEASE_SECONDS + 1)
Api = Callable[[User], APIClient]


def hand_out(labeler: User, project: Project, **options: object) -> Assignment:
    assignment = next_comparison(labeler=labeler, project=project, **options)  # type: ignore[arg-type]
    assert assignment is not None
    return assignment


def test_a_labeler_keeps_their_pair_until_they_answer(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    first = hand_out(labeler, project)
    again = hand_out(labeler, project)
    assert (again.pk, again.token, again.left_response) == (first.pk, first.token, first.left_response)
    submit_judgment(labeler=labeler, project=project, token=first.token, choice=Choice.UNSURE)
    assert hand_out(labeler, project).comparison == comparisons[1]


def test_asking_again_renews_the_lease(
    project: Project, labeler: User, teammate: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    hand_out(labeler, project)
    hand_out(labeler, project, now=timezone.now() + LATER / 2)
    assert next_comparison(labeler=teammate, project=project, now=timezone.now() + LATER) is None


def test_two_labelers_never_hold_the_same_place(
    project: Project, labeler: User, teammate: User, comparisons: list[Comparison]
) -> None:
    assert hand_out(labeler, project).comparison == comparisons[0]
    assert hand_out(teammate, project).comparison == comparisons[1]


def test_overlap_hands_a_pair_to_as_many_as_it_needs(
    project: Project, labeler: User, teammate: User, admin: User, make_comparison: MakeComparison
) -> None:
    wanted_twice = make_comparison(need=2)
    assert hand_out(labeler, project).comparison == wanted_twice
    assert hand_out(teammate, project).comparison == wanted_twice
    assert next_comparison(labeler=admin, project=project) is None
    wanted_twice.refresh_from_db()
    assert wanted_twice.taken == 2


def test_priority_goes_before_age(project: Project, labeler: User, make_comparison: MakeComparison) -> None:
    make_comparison()
    urgent = make_comparison(priority=5)
    assert hand_out(labeler, project).comparison == urgent


def test_a_place_comes_back_when_its_lease_ends(
    project: Project, labeler: User, teammate: User, make_comparison: MakeComparison
) -> None:
    only = make_comparison()
    hand_out(labeler, project)
    assert next_comparison(labeler=teammate, project=project) is None
    assert hand_out(teammate, project, now=timezone.now() + LATER).comparison == only
    only.refresh_from_db()
    assert only.taken == 1


def test_an_ended_lease_may_go_to_the_same_labeler_again(
    project: Project, labeler: User, teammate: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    first = hand_out(labeler, project)
    reap_expired(now=timezone.now() + LATER)
    again = hand_out(labeler, project)
    assert again.pk == first.pk
    assert (again.left_response, again.seed) == (first.left_response, first.seed)
    assert again.comparison.taken == 1


def test_a_lease_is_reaped_though_many_others_are(
    project: Project, labeler: User, make_comparison: MakeComparison
) -> None:
    now = timezone.now()
    people = [User(username=f"person {number}") for number in range(REAP_AT_ONCE + 5)]
    for person in User.objects.bulk_create(people):
        make_comparison()
        hand_out(person, project, now=now)
    assert reap_expired(now=now + LATER) == REAP_AT_ONCE
    assert reap_expired(now=now + LATER) == 5
    assert reap_expired(now=now + LATER) == 0
    assert not Comparison.objects.filter(taken__gt=0).exists()


def test_the_heartbeat_keeps_a_lease_alive(
    project: Project, labeler: User, teammate: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    held = hand_out(labeler, project)
    half = timezone.now() + LATER / 2
    assert extend_lease(labeler=labeler, project=project, token=held.token, now=half)
    assert next_comparison(labeler=teammate, project=project, now=timezone.now() + LATER) is None
    assert extend_lease(labeler=teammate, project=project, token=held.token) is None
    reap_expired(now=half + LATER)
    assert extend_lease(labeler=labeler, project=project, token=held.token) is None


def test_sides_are_drawn_from_the_recorded_seed_and_fair(
    project: Project, labeler: User, make_comparison: MakeComparison
) -> None:
    for _number in range(5):
        make_comparison()
        held = hand_out(labeler, project)
        assert held.left_response == draw_left(held.seed)
        skip_comparison(labeler=labeler, project=project, token=held.token, reason=SkipReason.OTHER)
    assert len(set(Assignment.objects.values_list("seed", flat=True))) == 5
    sides = Counter(draw_left(seed) for seed in range(2000))
    assert 900 < sides["a"] < 1100


def test_an_archived_project_hands_nothing_out(project: Project, labeler: User, comparisons: list[Comparison]) -> None:
    project.archived_at = timezone.now()
    project.save()
    assert next_comparison(labeler=labeler, project=project) is None


def test_api_hands_out_the_texts_and_nothing_of_their_source(
    project: Project, labeler: User, make_comparison: MakeComparison, api: Api
) -> None:
    make_comparison("How long?", "Six minutes.", "A while.", recorded_winner="a")
    answer = api(labeler).post(f"/api/v1/projects/{project.slug}/next/")
    assert answer.status_code == 200
    pair = answer.json()["pair"]
    assert set(pair) == {"token", "messages", "left", "right", "shown_at", "expires_at"}
    assert {pair["left"], pair["right"]} == {"Six minutes.", "A while."}
    assert pair["messages"] == [{"role": "user", "content": "How long?"}]
    for secret in ("secret-origin", "recorded", "winner", "origin", "model", "sampling", "seed", "response_a"):
        assert secret not in answer.content.decode()


def test_api_says_when_nothing_is_left(project: Project, labeler: User, api: Api) -> None:
    answer = api(labeler).post(f"/api/v1/projects/{project.slug}/next/")
    assert answer.status_code == 200
    assert answer.json() == {
        "pair": None,
        "draft": None,
        "progress": {"done_by_me": 0, "left_for_me": 0, "done": 0, "needed": 0},
        "undoable": None,
    }


@pytest.mark.parametrize("path", ["", "next/", "judgments/", "judgments/undo/", "skip/"])
def test_api_does_not_know_the_project_of_others(project: Project, outsider: User, api: Api, path: str) -> None:
    client = api(outsider)
    address = f"/api/v1/projects/{project.slug}/{path}"
    answer = client.get(address) if path == "" else client.post(address, {})
    assert answer.status_code == 404


def test_api_lists_a_labelers_projects(project: Project, labeler: User, outsider: User, admin: User, api: Api) -> None:
    assert [row["slug"] for row in api(labeler).get("/api/v1/projects/").json()["results"]] == [project.slug]
    assert api(outsider).get("/api/v1/projects/").json()["results"] == []
    one = api(admin).get(f"/api/v1/projects/{project.slug}/").json()
    assert one["name"] == project.name
    assert one["guidelines"] == project.guidelines
    assert one["progress"]["needed"] == 0


def test_api_heartbeat(project: Project, labeler: User, make_comparison: MakeComparison, api: Api) -> None:
    make_comparison()
    held = hand_out(labeler, project)
    address = f"/api/v1/projects/{project.slug}/heartbeat/"
    assert api(labeler).post(address, {"token": str(held.token)}).json()["expires_at"]
    Assignment.objects.update(state="expired", holds_place=False)
    assert api(labeler).post(address, {"token": str(held.token)}).json() == {"expires_at": None}
