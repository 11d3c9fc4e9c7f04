"""One more vote while they disagree: the stop rule, what a vote does to the need, and the forecast made of it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from annotate.models import Choice, Comparison, Project
from annotate.selectors.budget import forecast_budget
from annotate.services.assignments import next_comparison
from annotate.services.judgments import submit_judgment, undo_judgment
from annotate.services.overlap import is_settled, measure_certainty
from annotate.services.projects import update_project
from tests.annotate.test_next_comparison import hand_out
from tests.conftest import MakeComparison


@given(st.integers(0, 20), st.integers(0, 20))
def test_certainty_is_the_tail_of_a_beta_distribution(won: int, lost: int) -> None:
    assert measure_certainty(won, won + lost) == pytest.approx(beta(won + 1, lost + 1).sf(0.5), abs=1e-12)


@pytest.mark.parametrize(
    ("answers", "certainty", "settled"),
    [
        ("", 0.9, True),
        ("a", 0.9, True),
        ("aa", 0.9, True),
        ("ab", 0.5, True),  # P = 1/2: no threshold asks for less
        ("ab", 0.51, False),
        ("aab", 0.9, False),  # 0.6875
        ("aaaab", 0.9, False),  # 0.8906
        ("aaaaab", 0.9, True),  # 0.9375
    ],
)
def test_votes_settle_a_pair(answers: str, certainty: float, settled: bool) -> None:
    assert is_settled(answers, certainty) is settled


def say(project: Project, user: User, winner: str) -> None:
    held = hand_out(user, project)
    sides = {held.left_response: Choice.LEFT_SLIGHTLY}
    choice = Choice(winner) if len(winner) > 1 else sides.get(winner, Choice.RIGHT_SLIGHTLY)
    submit_judgment(labeler=user, project=project, token=held.token, choice=choice)


@pytest.mark.parametrize(
    ("said", "most", "need"),
    [
        ("ab", None, 2),
        ("aa", 5, 2),
        ("ab", 2, 2),
        ("ab", 5, 3),
        (["a", "unsure"], 5, 2),  # who is unsure does not disagree
        (["a", "equal"], 5, 3),
        (["equal", "equal"], 5, 2),
        ("aba", 3, 3),
        ("aba", 5, 4),
    ],
)
def test_disagreement_asks_for_one_more_vote(
    project: Project, make_comparison: MakeComparison, said: list[str], most: int | None, need: int
) -> None:
    Project.objects.update(max_votes=most, allows_equal=True)
    project.refresh_from_db()
    only = make_comparison(need=2)
    for number, winner in enumerate(said):
        say(project, User.objects.create(username=f"person {number}"), winner)
    only.refresh_from_db()
    assert only.need == need and only.taken == len(said)


def test_a_pair_with_a_lease_is_not_complete_and_an_undo_lowers_nothing(
    project: Project, labeler: User, teammate: User, admin: User, make_comparison: MakeComparison
) -> None:
    Project.objects.update(max_votes=5)
    project.refresh_from_db()
    only = make_comparison(need=3)
    hand_out(admin, project)
    say(project, labeler, "a")
    say(project, teammate, "b")
    only.refresh_from_db()
    assert only.need == 3  # the admin's vote is on its way
    say(project, admin, "a")
    only.refresh_from_db()
    assert only.need == 4
    undo_judgment(labeler=teammate, project=project)
    only.refresh_from_db()
    assert (only.need, only.taken) == (4, 3)


def test_another_rule_looks_at_complete_pairs_again(
    project: Project, labeler: User, teammate: User, admin: User, make_comparison: MakeComparison
) -> None:
    project.guidelines = ""
    torn, agreed, single = make_comparison(need=2), make_comparison(need=2), make_comparison(need=1)
    for person, answers in ((labeler, "aaa"), (teammate, "ba")):
        for winner in answers:
            say(project, person, winner)

    def change(**values: object) -> list[int]:
        for name, value in values.items():
            setattr(project, name, value)
        update_project(project=project, archived=False, by=admin)
        return [Comparison.objects.get(pk=pair.pk).need for pair in (torn, agreed, single)]

    assert change(description="Another word") == [2, 2, 1]
    assert change(max_votes=2) == [2, 2, 1]
    assert change(max_votes=3) == [3, 2, 1]
    assert change(settled_at=0.8) == [3, 2, 1]  # it waits for the third vote already
    say(project, admin, "a")
    assert change(max_votes=4, settled_at=0.65) == [3, 2, 1]  # 0.6875 is enough now
    assert change(settled_at=0.7) == [4, 2, 1]


def test_the_forecast_counts_places_and_expected_disagreement(
    project: Project, labeler: User, teammate: User, make_comparison: MakeComparison
) -> None:
    assert forecast_budget(project).hours is None and forecast_budget(project).votes == 0
    Project.objects.update(max_votes=2)
    project.refresh_from_db()
    for _number in range(4):
        make_comparison()
    assert forecast_budget(project).votes == 4
    for winner in "aa":
        say(project, labeler, winner)
    Comparison.objects.filter(taken=1).update(need=2, taken=2)  # as if each had needed a second vote
    forecast = forecast_budget(project)
    assert (forecast.mean_need, forecast.votes, forecast.timed) == (2.0, 4.0, 2)  # two open pairs, two votes each
    assert forecast.hours == pytest.approx(4 * (forecast.seconds or 0) / 3600)
    assert next_comparison(labeler=teammate, project=project)
    assert forecast_budget(project).votes == 4.0  # a vote on its way is still to come


def test_the_page_of_a_lead_says_what_is_still_to_do(
    project: Project, admin: User, labeler: User, comparisons: list[Comparison], client: Client
) -> None:
    url = reverse("project_detail", args=[project.slug])
    client.force_login(admin)
    page = client.get(url).content.decode()
    assert "About 4 more votes." in page and "hours of labeling" not in page
    say(project, labeler, "a")
    page = client.get(url).content.decode()
    assert "About 3 more votes." in page and "(the median of the last 1)" in page
    client.force_login(labeler)
    assert "more votes" not in client.get(url).content.decode()
