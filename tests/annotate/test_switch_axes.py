"""Switching between axes: the same pair where it is open to the labeler, and never more than a wish."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils.html import escape
from rest_framework.test import APIClient

from annotate.models import Assignment, Choice, Comparison, Membership, Project
from annotate.selectors.families import find_same_pair, list_tabs
from annotate.services.assignments import next_comparison
from annotate.services.axes import add_axis, follow_pair
from annotate.services.judgments import submit_judgment
from annotate.services.projects import update_project
from tests.conftest import MakeComparison

Start = Callable[..., Assignment]


@pytest.fixture
def axis(project: Project, comparisons: list[Comparison], admin: User) -> Project:
    return add_axis(parent=project, axis="Safety", question="Which is safer?", by=admin)


def judge(labeler: User, project: Project, times: int = 1) -> None:
    for _turn in range(times):
        pair = next_comparison(labeler=labeler, project=project)
        assert pair is not None
        submit_judgment(labeler=labeler, project=project, token=pair.token, choice=Choice.UNSURE)


def start(labeler: User, project: Project, shown: UUID | None = None) -> Assignment:
    """What the labeler gets, coming from the pair ``shown`` on another axis."""
    foreseen = follow_pair(labeler=labeler, project=project, token=shown) if shown else None
    assignment = next_comparison(labeler=labeler, project=project, foreseen=foreseen)
    assert assignment is not None
    return assignment


def test_the_same_pair_comes_first_both_ways(project: Project, axis: Project, labeler: User) -> None:
    judge(labeler, project, 2)
    here = start(labeler, project)
    there = start(labeler, axis, here.token)
    assert there.comparison.original_id == here.comparison_id
    judge(labeler, axis)
    judge(labeler, project)
    back = start(labeler, project, there.token)
    assert back.comparison_id != here.comparison_id  # judged already: the next


def test_what_is_held_goes_back_only_where_the_same_pair_is_open(
    project: Project, axis: Project, labeler: User, teammate: User
) -> None:
    held = start(labeler, axis)
    judge(labeler, project)
    second = start(labeler, project)
    moved = start(labeler, axis, second.token)
    assert moved.comparison.original_id == second.comparison_id
    first = Comparison.objects.get(pk=held.comparison_id)
    assert first.taken == 0 and Assignment.objects.get(pk=held.pk).state == Assignment.State.EXPIRED
    judge(labeler, axis)
    again = start(labeler, axis)
    assert again.comparison_id == held.comparison_id and again.token == held.token  # a draft is found again
    # A pair that others filled is no way out of the one that is held.
    third = start(teammate, axis)
    judge(labeler, project)
    shown = start(labeler, project)
    assert third.comparison.original_id == shown.comparison_id
    assert start(labeler, axis, shown.token).pk == again.pk


def test_only_a_pair_that_one_met_can_be_wished_for(
    project: Project, axis: Project, comparisons: list[Comparison], labeler: User, teammate: User
) -> None:
    judge(teammate, project, 2)
    theirs = start(teammate, project)  # met by somebody else alone
    assert find_same_pair(axis, labeler, theirs.token) is None
    assert start(labeler, axis, theirs.token).comparison.original_id == comparisons[0].pk
    assert follow_pair(labeler=labeler, project=axis, token=uuid4()) is None


def test_another_project_s_pair_leads_nowhere(
    axis: Project, make_comparison: MakeComparison, admin: User, labeler: User
) -> None:
    other = Project.objects.create(name="Other", slug="other", created_by=admin)
    Membership.objects.create(project=other, user=labeler)
    make_comparison(project=other)
    assert follow_pair(labeler=labeler, project=axis, token=start(labeler, other).token) is None


def test_gold_that_is_held_stays(project: Project, axis: Project, labeler: User) -> None:
    held = start(labeler, axis)
    Comparison.objects.filter(pk=held.comparison_id).update(taken=0)
    Assignment.objects.filter(pk=held.pk).update(kind=Assignment.Kind.GOLD, holds_place=False)
    judge(labeler, project)
    assert start(labeler, axis, start(labeler, project).token).pk == held.pk


def test_tabs_show_what_is_left_of_the_axes_at_which_one_works(
    project: Project, axis: Project, labeler: User, outsider: User, admin: User
) -> None:
    third = add_axis(parent=project, axis="Tone", question="?", by=admin)
    judge(labeler, axis)
    assert [(tab.project, tab.left, tab.is_current) for tab in list_tabs(axis, labeler)] == [
        (project, 4, False),
        (axis, 3, True),
        (third, 4, False),
    ]
    update_project(project=third, archived=True, by=admin)
    assert len(list_tabs(axis, labeler)) == 2
    Membership.objects.create(project=axis, user=outsider)
    assert list_tabs(axis, outsider) == []


def test_the_page_leads_to_the_same_pair(
    project: Project, axis: Project, labeler: User, sign_in: Callable[[User], Client]
) -> None:
    judge(labeler, project, 2)
    client = sign_in(labeler)
    page = client.get("/projects/kitchen-help/compare/").content.decode()
    shown = start(labeler, project).token
    link = f"/projects/kitchen-help-safety/compare/?pair={shown}"
    assert escape(link) in page and 'aria-current="page"' in page
    there = client.get(link).content.decode()
    assert "Question 3?" in there and "?pair=" in there
    for nonsense in ("", "x", "17", str(uuid4())):
        assert client.get("/projects/kitchen-help-safety/compare/", {"pair": nonsense}).status_code == 200


def test_guidelines_that_must_be_read_first_lead_on_to_the_same_pair(
    project: Project, comparisons: list[Comparison], labeler: User, admin: User, sign_in: Callable[[User], Client]
) -> None:
    add_axis(parent=project, axis="Safety", question="?", guidelines="No harm.", by=admin)
    judge(labeler, project, 2)
    shown = start(labeler, project).token
    client, url = sign_in(labeler), "/projects/kitchen-help-safety/compare/"
    page = client.get(f"{url}?pair={shown}").content.decode()
    assert "No harm." in page and f'name="pair" value="{shown}"' in page
    read: Any = client.post(f"{url}guidelines/", {"number": 1, "pair": shown}, follow=True)
    assert "Question 3?" in read.content.decode()


def test_a_project_without_axes_shows_none(
    project: Project, comparisons: list[Comparison], labeler: User, sign_in: Callable[[User], Client]
) -> None:
    page = sign_in(labeler).get("/projects/kitchen-help/compare/").content.decode()
    assert 'id="axes"' not in page and "another axis" not in page


def test_the_api_takes_the_wish(
    project: Project, axis: Project, labeler: User, api: Callable[[User], APIClient]
) -> None:
    judge(labeler, project, 2)
    shown = start(labeler, project).token
    url = "/api/v1/projects/kitchen-help-safety/next/"
    assert "pair" in api(labeler).post(url, {"pair": 17}).json()
    got = api(labeler).post(url, {"pair": str(shown)}).json()["pair"]
    assert got["messages"][0]["content"] == "Question 3?"
