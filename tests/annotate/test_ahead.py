"""The pair that is told before its turn: nothing is handed out for it, and what is shown comes true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from annotate.models import Assignment, Choice, Comparison, GuidelineVersion, Judgment, Membership, Project
from annotate.selectors.shown_pair import describe_pair
from annotate.services.ahead import foresee_pair, read_ticket
from annotate.services.assignments import draw_left, draw_seed, next_comparison
from annotate.services.judgments import submit_judgment
from tests.annotate.test_gold import make_gold_pairs
from tests.annotate.test_next_comparison import hand_out
from tests.annotate.test_undo import judge
from tests.conftest import MakeComparison

SignIn = Callable[[User], Client]


def foresee(labeler: User, project: Project) -> tuple[Assignment, str]:
    found = foresee_pair(labeler=labeler, project=project, token=hand_out(labeler, project).token)
    assert found
    return found


def go_on(labeler: User, project: Project, ticket: str) -> Assignment:
    """Answers the pair held and takes the next as the page does."""
    token = hand_out(labeler, project).token
    submit_judgment(labeler=labeler, project=project, token=token, choice=Choice.UNSURE)
    foreseen = read_ticket(ticket, labeler=labeler, project=project, token=token)
    found = next_comparison(labeler=labeler, project=project, foreseen=foreseen)
    assert found
    return found


def test_what_is_told_comes_true_with_its_sides_and_hands_nothing_out(
    project: Project, labeler: User, make_comparison: MakeComparison
) -> None:
    for _number in range(12):
        make_comparison()
    for _turn in range(10):
        told, ticket = foresee(labeler, project)
        assert Assignment.objects.filter(state="leased").count() == 1
        assert told._state.adding
        came = go_on(labeler, project, ticket)
        assert (came.comparison, came.left_response) == (told.comparison, told.left_response)
        left, right = (describe_pair(row).left for row in (told, came))
        assert left == right
    assert len(Counter(Assignment.objects.values_list("left_response", flat=True))) == 2


def test_gold_is_foreseen_as_gold(
    project: Project, labeler: User, admin: User, make_comparison: MakeComparison
) -> None:
    """A pair that gave way to gold would tell it."""
    make_gold_pairs(make_comparison, admin, 6)
    Project.objects.update(gold_rate=0.5, gold_bar=0.05, qualification_pairs=2)
    project.refresh_from_db()
    for _number in range(10):
        make_comparison()
    kinds = [hand_out(labeler, project).kind]
    for _turn in range(11):
        told, ticket = foresee(labeler, project)
        came = go_on(labeler, project, ticket)
        kinds.append(came.kind)
        assert (came.comparison, came.left_response) == (told.comparison, told.left_response)
    assert kinds[:2] == ["qualification"] * 2 and set(kinds[2:]) == {"gold", "ordinary"}


def test_sides_are_a_fair_coin_for_each_labeler() -> None:
    drawn = [[draw_left(draw_seed(pair, labeler)) for pair in range(2000)] for labeler in (1, 2)]
    for sides in drawn:
        assert 900 < sides.count("a") < 1100
    assert 900 < sum(one == other for one, other in zip(*drawn, strict=True)) < 1100


def test_a_pair_that_somebody_else_took_is_not_given_twice(
    project: Project, labeler: User, teammate: User, comparisons: list[Comparison]
) -> None:
    told, ticket = foresee(labeler, project)
    hand_out(teammate, project)
    assert Assignment.objects.get(labeler=teammate).comparison == told.comparison
    came = go_on(labeler, project, ticket)
    assert came.comparison == comparisons[2]
    assert not Comparison.objects.filter(taken__gt=1).exists()


def test_labelers_at_work_seldom_foresee_the_same_pair(
    project: Project, make_comparison: MakeComparison, django_user_model: Any
) -> None:
    for _number in range(60):
        make_comparison()
    people = [django_user_model.objects.create(username=f"person {number}") for number in range(8)]
    for person in people:
        Membership.objects.create(project=project, user=person)
        hand_out(person, project)
    told = [foresee(person, project)[0].comparison.pk for person in people]
    assert told == [foresee(person, project)[0].comparison.pk for person in people]  # asking again tells nothing new
    assert len(set(told)) >= 4
    priority = Comparison.objects.exclude(assignments__isnull=False).last()
    assert priority
    Comparison.objects.filter(pk=priority.pk).update(priority=1)
    assert {foresee(person, project)[0].comparison for person in people} == {priority}


def test_a_ticket_serves_one_labeler_after_one_token(
    project: Project, labeler: User, teammate: User, comparisons: list[Comparison]
) -> None:
    token = hand_out(labeler, project).token
    _told, ticket = foresee(labeler, project)
    assert read_ticket(ticket, labeler=labeler, project=project, token=token) == comparisons[1].pk
    other = hand_out(teammate, project).token
    assert read_ticket(ticket, labeler=teammate, project=project, token=token) is None
    assert read_ticket(ticket, labeler=labeler, project=project, token=other) is None
    for bad in ("", "x", ticket[:-2], f"{comparisons[3].pk}"):
        assert read_ticket(bad, labeler=labeler, project=project, token=token) is None


def test_nothing_is_told_where_nothing_would_follow(
    project: Project, labeler: User, teammate: User, admin: User, make_comparison: MakeComparison
) -> None:
    make_comparison()
    held = hand_out(labeler, project)
    assert foresee_pair(labeler=labeler, project=project, token=held.token) is None
    make_comparison()
    assert foresee_pair(labeler=labeler, project=project, token=held.token)
    assert foresee_pair(labeler=teammate, project=project, token=held.token) is None
    GuidelineVersion.objects.create(project=project, number=1, text="New.", created_by=admin)
    assert foresee_pair(labeler=labeler, project=project, token=held.token) is None


def test_page_shows_it_without_token_and_without_its_source(
    project: Project, labeler: User, comparisons: list[Comparison], sign_in: SignIn
) -> None:
    address, token = f"/projects/{project.slug}/compare/", str(hand_out(labeler, project).token)
    client = sign_in(labeler)
    response = client.get(f"{address}ahead/", {"token": token})
    page = response.content.decode()
    assert "Question 2?" in page and "secret-origin" not in page and token not in page
    assert "no-store" in response["Cache-Control"]
    payload = {"token": token, "choice": "unsure", "ahead": response["X-Compare-Ahead"]}
    Comparison.objects.filter(pk=comparisons[3].pk).update(priority=9)  # comes first, but for what was told
    assert "Question 2?" in client.post(address, payload, headers={"HX-Request": "true"}).content.decode()
    assert Judgment.objects.count() == 1
    for bad in ("", "x", token):
        assert client.get(f"{address}ahead/", {"token": bad}).status_code == 204


@pytest.mark.parametrize("ticket", ["", "x" * 50, "1:2"])
def test_a_bad_ticket_costs_no_answer(
    project: Project, labeler: User, comparisons: list[Comparison], sign_in: SignIn, ticket: str
) -> None:
    judge(labeler, project)
    payload = {"token": hand_out(labeler, project).token, "choice": "unsure", "ahead": ticket}
    page = sign_in(labeler).post(f"/projects/{project.slug}/compare/", payload, headers={"HX-Request": "true"})
    assert (page.status_code, Judgment.objects.count()) == (200, 2)
