"""The queue of review: which pairs wait, in which order, and what they do not tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate.models import Assignment, Choice, Comparison, Flag, Grade, Membership, Project, Role
from annotate.selectors.review import describe_review
from annotate.selectors.review_queue import Kind, Wanted, find_next, list_rows
from annotate.services.adjudication import adjudicate, answer_blind
from annotate.services.gold import make_gold
from tests.annotate.votes import undo, vote
from tests.conftest import MakeComparison

SignIn = Callable[[User], Client]
ANSWERS = ["a", "b", "equal", "both_bad", "unsure"]


@pytest.fixture
def voters(db: None) -> list[User]:
    return [User.objects.create_user(f"voter {number}") for number in range(6)]


def say(comparison: Comparison, voters: list[User], answers: list[str]) -> Comparison:
    for voter, answer in zip(voters, answers, strict=False):
        vote(comparison, voter, *([answer] if answer in "ab" else ["", answer]))
    return comparison


def list_pairs(project: Project, kind: Kind = Kind.CONFLICT, **wanted: object) -> list[int]:
    return [row["comparison"] for row in list_rows(project, kind, Wanted(**wanted))]  # type: ignore[arg-type]


def test_the_most_contested_come_first(project: Project, make_comparison: MakeComparison, voters: list[User]) -> None:
    said = ["aab", "ab", "aaa", "aabb", ["a", "a", "a", "equal"], ["a", "unsure"], ["equal", "both_bad"], "aaab"]
    pairs = [say(make_comparison(), voters, list(answers)).pk for answers in said]
    assert list_pairs(project) == [pairs[3], pairs[1], pairs[0], pairs[4], pairs[7]]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=st.lists(st.sampled_from(ANSWERS), max_size=6))
def test_what_a_conflict_is(
    answers: list[str], project: Project, make_comparison: MakeComparison, voters: list[User]
) -> None:
    """Some name a side, and others name the other one or say that there is none."""
    pair = say(make_comparison(), voters, answers)
    counts = Counter(answers)
    sided, neither = counts["a"] + counts["b"], counts["equal"] + counts["both_bad"]
    assert (pair.pk in list_pairs(project)) == bool((counts["a"] and counts["b"]) or (sided and neither))


def test_what_was_taken_back_is_no_conflict(
    project: Project, comparisons: list[Comparison], labeler: User, teammate: User
) -> None:
    vote(comparisons[0], labeler, "a")
    undo(vote(comparisons[0], teammate, "b"))
    assert list_pairs(project) == []


def test_filters(project: Project, make_comparison: MakeComparison, voters: list[User], outsider: User) -> None:
    rice = say(make_comparison("밥은 어떻게 “짓나요”?", a="Wash it."), voters[:2], ["a", "b"]).pk
    eggs = say(make_comparison("How long do EGGS boil?", b="밥처럼 오래."), voters[1:], ["a", "b"]).pk
    assert set(list_pairs(project, search="밥")) == {rice, eggs}
    assert list_pairs(project, search="“짓나요”") == [rice]
    assert list_pairs(project, search="eggs BOIL") == [eggs]
    assert list_pairs(project, search="wash") == [rice] and list_pairs(project, search="100%") == []
    assert list_pairs(project, labeler=voters[0]) == [rice]
    assert set(list_pairs(project, labeler=voters[1])) == {rice, eggs} and list_pairs(project, labeler=outsider) == []
    Flag.objects.create(comparison_id=eggs, labeler=voters[0], reason="other")
    assert list_pairs(project, Kind.FLAG, labeler=voters[0]) == [eggs]
    assert list_pairs(project, Kind.FLAG, labeler=voters[1]) == []
    assert find_next(project, Kind.CONFLICT, Wanted(), after=rice) == eggs
    assert find_next(project, Kind.FLAG, Wanted(), after=eggs) is None


def test_gold_that_is_missed_comes_most_missed_first(
    project: Project, make_comparison: MakeComparison, voters: list[User], admin: User
) -> None:
    gold = [make_comparison() for _ in range(3)]
    for pair, answers in zip(gold, ("aab", "bb", "aaa"), strict=True):
        make_gold(comparison=pair, winner="a", grade=Grade.SLIGHTLY, by=admin)
        say(pair, voters, list(answers))
    assert list_pairs(project, Kind.GOLD) == [], "nobody was handed these as gold"
    Assignment.objects.update(kind=Assignment.Kind.GOLD, holds_place=False)
    assert list_pairs(project, Kind.GOLD) == [gold[1].pk, gold[0].pk] and list_pairs(project) == []
    assert list_pairs(project, Kind.GOLD, labeler=voters[2]) == [gold[0].pk]
    answer_blind(reviewer=admin, comparison=gold[1], choice=Choice.UNSURE)
    assert describe_review(gold[1], admin).gold_choice in (Choice.LEFT_SLIGHTLY, Choice.RIGHT_SLIGHTLY)
    adjudicate(reviewer=admin, comparison=gold[1], choice=None)
    assert list_pairs(project, Kind.GOLD) == [gold[0].pk]


def test_another_project_has_its_own_queue(
    project: Project, comparisons: list[Comparison], voters: list[User], admin: User
) -> None:
    other = Project.objects.create(name="Other", slug="other", created_by=admin)
    say(comparisons[0], voters, ["a", "b"])
    Flag.objects.create(comparison=comparisons[0], labeler=voters[0], reason="other")
    assert [list_pairs(other, kind) for kind in Kind] == [[], [], [], []]


def test_the_page_tells_nobodys_votes(
    project: Project, comparisons: list[Comparison], voters: list[User], admin: User, sign_in: SignIn
) -> None:
    say(comparisons[0], voters, ["a", "b"])
    Flag.objects.create(comparison=comparisons[1], labeler=voters[0], reason="harmful", note="Look here.")
    address = reverse("review_queue", args=[project.slug])
    page = sign_in(admin).get(address, {"kind": "conflict"}).content.decode()
    rows = page.split('aria-label="Conflicts"')[1]
    assert "Question 1?" in rows and "2 votes" in rows and "voter 0" not in rows and "better" not in rows
    page = sign_in(admin).get(address, {"kind": "flag"}).content.decode()
    assert "Question 2?" in page and "Harmful content" in page and "Look here." not in page


@pytest.mark.parametrize(
    "query", [{"kind": "x"}, {"labeler": "9" * 40}, {"labeler": "\x00"}, {"page": "z"}, {"search": "%\x00" * 200}]
)
def test_senseless_filters_are_left_out(project: Project, query: dict[str, str], admin: User, sign_in: SignIn) -> None:
    assert sign_in(admin).get(reverse("review_queue", args=[project.slug]), query).status_code == 200


def test_reviewers_find_the_queue_and_labelers_do_not(
    project: Project, labeler: User, teammate: User, sign_in: SignIn
) -> None:
    Membership.objects.filter(user=teammate).update(role=Role.REVIEWER)
    address = reverse("review_queue", args=[project.slug])
    assert address in sign_in(teammate).get(reverse("project_detail", args=[project.slug])).content.decode()
    assert address not in sign_in(labeler).get(reverse("project_detail", args=[project.slug])).content.decode()
