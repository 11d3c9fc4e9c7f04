"""One labeler's page: their own figures, for themself and for those who lead; and models ranked by votes."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import Assignment, Choice, Comparison, Flag, Grade, Judgment, Membership, Project, Response, Role
from annotate.quality.intervals import estimate_share
from annotate.selectors.labelers import LEAST_VOTES, describe_labeler
from annotate.selectors.quality import measure_quality
from annotate.selectors.ranking import rank_models
from annotate.services.adjudication import adjudicate, answer_blind
from annotate.services.gold import make_gold
from tests.annotate.votes import say, vote
from tests.conftest import MakeComparison
from tests.scenery import make_model

SignIn = Callable[[User], Client]
Api = Callable[[User], APIClient]


@pytest.fixture(autouse=True)
def no_figures_kept() -> None:
    """Of a project and a person of the same numbers."""
    cache.clear()


@pytest.fixture
def pairs(make_comparison: MakeComparison, labeler: User, teammate: User) -> list[Comparison]:
    """As many pairs as figures need; the labeler prefers a throughout, the teammate b on every fourth."""
    pairs = [make_comparison(need=2) for _ in range(LEAST_VOTES)]
    for number, pair in enumerate(pairs):
        vote(pair, labeler, "a", "slightly" if number % 2 else "significantly")
        vote(pair, teammate, "a" if number % 4 else "b")
    Judgment.objects.filter(labeler=labeler).update(seconds=8.0)
    return pairs


def test_figures_are_the_labelers_own(project: Project, pairs: list[Comparison], labeler: User) -> None:
    Flag.objects.create(comparison=pairs[0], labeler=labeler, reason="other")
    figures = describe_labeler(project, labeler)
    assert (figures.votes, figures.seconds, figures.flags) == (20, 8.0, 1)
    assert figures.agreement.value == 0.75 and figures.position.value == 1.0
    assert dict(figures.grades) == {"significantly better": 10, "slightly better": 10}
    assert [(week.votes, week.seconds) for week in figures.weeks] == [(20, 8.0)]
    assert sum(votes for _day, votes in figures.days) == 20
    assert figures.middle is None, "of two labelers, the middle would give the other one away"


def test_the_middle_comes_with_a_third_labeler(
    project: Project, pairs: list[Comparison], labeler: User, admin: User
) -> None:
    for pair in pairs:
        vote(pair, admin, "a")
    middle = describe_labeler(project, labeler).middle
    assert middle and middle.seconds == 1.0 and middle.agreement == measure_quality(project).agreement.value


def test_few_votes_give_no_figures(project: Project, pairs: list[Comparison], teammate: User, outsider: User) -> None:
    vote(pairs[0], outsider)
    figures = describe_labeler(project, outsider)
    assert (figures.votes, figures.has_figures, figures.agreement.value, figures.seconds) == (1, False, None, None)


def test_decisions_are_a_figure_of_their_own(
    project: Project, pairs: list[Comparison], labeler: User, admin: User
) -> None:
    for pair, choice in ((pairs[0], Choice.LEFT_SLIGHTLY), (pairs[1], Choice.UNSURE), (pairs[2], None)):
        answer_blind(reviewer=admin, comparison=pair, choice=choice or Choice.UNSURE)
        ruling = adjudicate(reviewer=admin, comparison=pair, choice=choice)
    share = describe_labeler(project, labeler).adjudicated
    agreed = pairs[0].adjudications.get().winner == "a"
    assert (share.value, share.count) == (agreed / 2, 2)
    assert ruling.dropped
    own = adjudicate(reviewer=labeler, comparison=pairs[3], choice=Choice.LEFT_SLIGHTLY)
    assert own.vote and describe_labeler(project, labeler).adjudicated.count == 2


def test_who_sees_whose_page(
    project: Project, pairs: list[Comparison], labeler: User, teammate: User, outsider: User, sign_in: SignIn
) -> None:
    def ask(viewer: User, pk: int) -> int:
        return int(sign_in(viewer).get(reverse("labeler_detail", args=[project.slug, pk])).status_code)

    assert [ask(labeler, labeler.pk), ask(labeler, teammate.pk), ask(labeler, 10**6)] == [200, 403, 403]
    assert [ask(outsider, outsider.pk), ask(outsider, labeler.pk)] == [404, 404]
    Membership.objects.filter(user=teammate).update(role=Role.REVIEWER)
    assert [ask(teammate, teammate.pk), ask(teammate, labeler.pk)] == [200, 403]
    Membership.objects.filter(user=teammate).update(role=Role.LEAD)
    assert [ask(teammate, labeler.pk), ask(teammate, outsider.pk), ask(teammate, 10**6)] == [200, 404, 404]


def test_ones_own_page_names_nobody_else(
    project: Project, pairs: list[Comparison], labeler: User, admin: User, sign_in: SignIn
) -> None:
    address = reverse("labeler_detail", args=[project.slug, labeler.pk])
    own = sign_in(labeler).get(address).content.decode()
    assert "My figures" in own and "Nobody is ranked" in own and "teammate" not in own
    assert "/comparisons/" not in own and "secret-origin" not in own
    led = sign_in(admin).get(address).content.decode()
    assert reverse("comparison_detail", args=[pairs[-1].pk]) in led


def test_credit_on_gold_is_for_those_who_lead(
    project: Project,
    pairs: list[Comparison],
    make_comparison: MakeComparison,
    labeler: User,
    admin: User,
    sign_in: SignIn,
) -> None:
    gold = make_comparison()
    make_gold(comparison=gold, winner="a", grade=Grade.SIGNIFICANTLY, by=admin)
    said = vote(gold, labeler, "a", "significantly")
    Assignment.objects.filter(pk=said.assignment_id).update(kind=Assignment.Kind.GOLD, holds_place=False)
    address = reverse("labeler_detail", args=[project.slug, labeler.pk])
    assert "Credit on gold, 1 vote" in sign_in(admin).get(address).content.decode()
    assert "gold" not in sign_in(labeler).get(address).content.decode().lower()


def ask_again(pairs: list[Comparison], labeler: User, winners: str) -> None:
    """The labeler, who preferred a, met these pairs again with the sides swapped, and now says this of them."""
    for pair, winner in zip(pairs, winners, strict=False):
        again = Assignment.objects.get(comparison=pair, labeler=labeler)
        again.pk, again.token, again.kind, again.holds_place, again.left_response = None, uuid4(), "repeat", False, "b"
        again.save()
        say(again, "vote", winner=winner, side="right" if winner == "a" else "left", grade="slightly", is_repeat=True)


def test_consistency_on_pairs_that_came_again(
    project: Project, pairs: list[Comparison], labeler: User, admin: User, sign_in: SignIn,
    api: Callable[[User], APIClient],
) -> None:  # fmt: skip
    """A lead sees it pair by pair; the labeler's own figure moves with every tenth, so that none is told."""
    address = reverse("labeler_detail", args=[project.slug, labeler.pk])

    def read_own() -> tuple[float | None, int]:
        own = api(labeler).get(reverse("api_labeler", args=[project.slug, labeler.pk])).json()["consistency"]
        return own["value"], own["count"]

    ask_again(pairs, labeler, "aaaaaaaab")
    assert describe_labeler(project, labeler).consistency == estimate_share(8, 9)
    assert "came again, 9 pairs" in sign_in(admin).get(address).content.decode()
    assert read_own() == (None, 0) and "came again" not in sign_in(labeler).get(address).content.decode()
    ask_again(pairs[9:], labeler, "ab")
    assert describe_labeler(project, labeler).consistency == estimate_share(9, 11)
    assert read_own() == (0.9, 10)
    page = sign_in(labeler).get(address).content.decode()
    assert "came again, 10 pairs" in page and "no mistake" in page


def test_the_api_gives_the_same(
    project: Project, pairs: list[Comparison], labeler: User, teammate: User, api: Callable[[User], APIClient]
) -> None:
    own = api(labeler).get(reverse("api_labeler", args=[project.slug, labeler.pk])).json()
    assert (own["username"], own["votes"], own["agreement"]["value"]) == ("labeler", 20, 0.75)
    assert api(labeler).get(reverse("api_labeler", args=[project.slug, teammate.pk])).status_code == 403
    assert api(labeler).get(reverse("api_quality", args=[project.slug])).status_code == 403


# -- What leads see ---------------------------------------------------------------------------------------------------


def test_a_lead_sees_the_quality_of_their_own_project_alone(
    project: Project,
    pairs: list[Comparison],
    labeler: User,
    admin: User,
    outsider: User,
    sign_in: SignIn,
    api: Callable[[User], APIClient],
) -> None:
    Membership.objects.filter(user=labeler).update(role=Role.LEAD)
    other = Project.objects.create(name="Other", slug="other", created_by=admin)
    Membership.objects.create(project=other, user=outsider, role=Role.LEAD)
    page = sign_in(labeler).get(reverse("project_quality", args=[project.slug]))
    assert page.status_code == 200 and "teammate" in page.content.decode()
    assert sign_in(labeler).get(reverse("project_quality", args=["other"])).status_code == 404
    elsewhere = sign_in(outsider).get(reverse("project_quality", args=["other"])).content.decode()
    assert "Nobody has voted yet" in elsewhere and "teammate" not in elsewhere
    assert api(labeler).get(reverse("api_quality", args=[project.slug])).json()["votes"] == 40
    assert api(outsider).get(reverse("api_quality", args=["other"])).json()["labelers"] == []


def test_models_are_ranked_by_the_votes_on_pairs_of_two_of_them(
    project: Project, pairs: list[Comparison], labeler: User, admin: User, sign_in: SignIn
) -> None:
    assert [standing.name for standing in rank_models(project)] == ["secret-origin-a", "secret-origin-b"]
    Response.objects.update(origin="import 1, line 3")
    assert rank_models(project) == [], "a line of a file is no source of two kinds"
    strong, weak = make_model(admin, name="strong"), make_model(admin, name="weak")
    for pair in pairs[:12]:
        Response.objects.filter(pk=pair.response_a_id).update(model=strong)
        Response.objects.filter(pk=pair.response_b_id).update(model=weak)
    Response.objects.filter(pk=pairs[12].response_a_id).update(model=weak)
    Response.objects.filter(pk=pairs[12].response_b_id).update(model=weak)
    first, second = [standing for standing in rank_models(project) if standing.model_id]
    assert (first.name, first.wins, first.votes) == ("strong", 21, 24)
    assert (second.name, second.wins, second.votes) == ("weak", 3, 24)
    assert first.strength.low > second.strength.high  # type: ignore[operator]
    cache.clear()  # of a report on as many votes in a project of the same number
    page = sign_in(admin).get(reverse("project_quality", args=[project.slug])).content.decode()
    assert "Models compared" in page and page.index(">strong<") < page.index(">weak<")


def test_ones_own_figures_do_not_move_with_each_vote_that_counts(
    project: Project, pairs: list[Comparison], make_comparison: MakeComparison, labeler: User, api: Api
) -> None:
    """Gold does not count: whoever saw the figures stand still after a vote would know that it was gold."""
    address = f"/api/v1/projects/{project.slug}/labelers/{labeler.pk}/"
    before = api(labeler).get(address).json()
    vote(make_comparison(need=2), labeler, "b")
    after = api(labeler).get(address).json()
    assert after["votes"] == before["votes"] + 1
    kept = ("agreement", "reliability", "weight", "position")
    assert [after[name] for name in kept] == [before[name] for name in kept]
    assert describe_labeler(project, labeler).position.count == before["position"]["count"] + 1, "for those who lead"
