"""What others said of a pair is kept from its reviewers until they have answered it: on every page and by the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import Assignment, Choice, Comparison, Flag, Grade, Hold, Membership, Project, Role
from annotate.selectors.blindness import WHY, find_held_back
from annotate.services.adjudication import adjudicate, answer_blind
from annotate.services.axes import add_axis
from annotate.services.gold import make_gold
from tests.annotate.test_next_comparison import hand_out
from tests.annotate.votes import undo, vote

SignIn = Callable[[User], Client]
Api = Callable[[User], APIClient]
SECRET = "Because of the eggs."


@pytest.fixture
def reviewer(project: Project) -> User:
    return add_reviewer(project, "reviewer")


@pytest.fixture
def pair(comparisons: list[Comparison], labeler: User, teammate: User) -> Comparison:
    """A pair on which two votes differ."""
    vote(comparisons[0], labeler, "a", rationale=SECRET)
    vote(comparisons[0], teammate, "b", "significantly")
    return comparisons[0]


@pytest.fixture
def gold(comparisons: list[Comparison], labeler: User, admin: User) -> Comparison:
    """A gold pair that a labeler missed."""
    make_gold(comparison=comparisons[1], winner="a", grade=Grade.SIGNIFICANTLY, explanation=SECRET, by=admin)
    vote(comparisons[1], labeler, "b")
    Assignment.objects.filter(comparison=comparisons[1]).update(kind="gold", holds_place=False)
    return comparisons[1]


def add_reviewer(project: Project, name: str, role: Role = Role.REVIEWER) -> User:
    user = User.objects.create_user(name, password=f"{name}'s password")
    Membership.objects.create(project=project, user=user, role=role)
    return user


def is_kept(pair: Comparison, reviewer: User) -> bool:
    return find_held_back(pair.project, reviewer, [pair.pk]) == {pair.pk}


def read_main(client: Client, name: str, *args: object) -> str:
    return client.get(reverse(name, args=args), follow=True).content.decode().split("<main")[1]


# -- Which pairs ------------------------------------------------------------------------------------------------------


def test_a_pair_of_the_queue_is_kept_until_it_is_answered(
    pair: Comparison, reviewer: User, labeler: User, teammate: User, comparisons: list[Comparison]
) -> None:
    vote(comparisons[1], labeler, "a")
    assert find_held_back(pair.project, reviewer, [each.pk for each in comparisons]) == {pair.pk}
    answer_blind(reviewer=reviewer, comparison=pair, choice=Choice.UNSURE)
    assert not is_kept(pair, reviewer)


def test_who_voted_has_answered_and_who_took_it_back_has_not(pair: Comparison, reviewer: User) -> None:
    said = vote(pair, reviewer, "b")
    assert not is_kept(pair, reviewer)
    undo(said)
    assert is_kept(pair, reviewer)


def test_a_decision_is_kept_from_the_other_reviewers(pair: Comparison, reviewer: User) -> None:
    answer_blind(reviewer=reviewer, comparison=pair, choice=Choice.UNSURE)
    adjudicate(reviewer=reviewer, comparison=pair, choice=Choice.UNSURE)
    assert is_kept(pair, add_reviewer(pair.project, "second"))


def test_flagged_pairs_missed_gold_and_what_they_hold_to_compare_are_kept(
    project: Project, comparisons: list[Comparison], gold: Comparison, reviewer: User, labeler: User
) -> None:
    Flag.objects.create(comparison=comparisons[2], labeler=labeler, reason="other")
    held = hand_out(reviewer, project).comparison
    assert held == comparisons[0]
    kept = find_held_back(project, reviewer, [each.pk for each in comparisons])
    assert kept == {held.pk, gold.pk, comparisons[2].pk}


def test_nothing_is_kept_from_those_who_lead(pair: Comparison, admin: User) -> None:
    assert not is_kept(pair, admin) and not is_kept(pair, add_reviewer(pair.project, "lead", Role.LEAD))


# -- On pages and by the API ------------------------------------------------------------------------------------------


def test_the_pairs_own_page(pair: Comparison, reviewer: User, labeler: User, sign_in: SignIn) -> None:
    Flag.objects.create(comparison=pair, labeler=labeler, reason="other", note="Right lies.")
    Flag.objects.create(comparison=pair, reason="identity", note="I am Claude")
    client = sign_in(reviewer)
    before = read_main(client, "comparison_detail", pair.pk)
    assert str(WHY) in before and reverse("review_pair", args=[pair.pk]) in before and "I am Claude" in before
    secrets = [SECRET, "teammate", "significantly better", "Right lies.", "Known answer"]
    assert [secret for secret in secrets if secret in before] == []
    answer_blind(reviewer=reviewer, comparison=pair, choice=Choice.UNSURE)
    after = read_main(client, "comparison_detail", pair.pk)
    assert [secret for secret in secrets if secret not in after] == [] and str(WHY) not in after


def test_the_list_of_judgments(pair: Comparison, reviewer: User, labeler: User, api: Api) -> None:
    vote(Comparison.objects.exclude(pk=pair.pk).order_by("pk")[0], labeler, "a", rationale="Open.")
    mine = vote(pair, reviewer, "b", rationale="Mine.")
    undo(mine)
    address = reverse("api_judgment_list", args=[pair.project.slug])
    rows = api(reviewer).get(address).json()["results"]
    shown = {(row["rationale"], row["choice"], row["held_back"]) for row in rows if row["action"] == "vote"}
    assert shown == {("Open.", "left_slightly", ""), ("Mine.", "right_slightly", ""), (None, None, str(WHY))}
    kept = next(row for row in rows if row["held_back"])
    said = ["grade", "side", "safety", "skip_reason", "reason_tags", "rewrite", "winner", "safe"]
    assert [kept[name] for name in said] == [None] * len(said) and kept["comparison"] == pair.pk
    answer_blind(reviewer=reviewer, comparison=pair, choice=Choice.UNSURE)
    rows = api(reviewer).get(address).json()["results"]
    assert {row["rationale"] for row in rows if row["action"] == "vote"} >= {SECRET, ""}
    assert not any(row["held_back"] for row in rows)


def test_the_list_costs_the_same_number_of_queries_for_any_length(
    project: Project, comparisons: list[Comparison], reviewer: User, labeler: User, teammate: User, api: Api,
    django_assert_max_num_queries: Callable[[int], object],
) -> None:  # fmt: skip
    for pair in comparisons:
        vote(pair, labeler, "a")
        vote(pair, teammate, "b")
    client = api(reviewer)
    with django_assert_max_num_queries(25):  # type: ignore[attr-defined]
        assert len(client.get(reverse("api_judgment_list", args=[project.slug])).json()["results"]) == 8


def test_known_answers_of_missed_gold(
    gold: Comparison, reviewer: User, labeler: User, sign_in: SignIn, api: Api
) -> None:
    client, slug = sign_in(reviewer), gold.project.slug
    pages: dict[str, tuple[Any, ...]] = {
        "list": ("gold_list", slug),
        "record": ("standing_detail", slug, labeler.pk),
        "form": ("gold_edit", gold.pk),
        "pair": ("comparison_detail", gold.pk),
    }
    secrets = [SECRET, "B: slightly better", "significantly better</td>", "A: significantly better\n"]
    for name, address in pages.items():
        before = read_main(client, *address)
        assert [secret for secret in secrets if secret in before] == [], name
        assert reverse("review_pair", args=[gold.pk]) in before, name
    assert client.post(reverse("gold_edit", args=[gold.pk]), {"choice": "unsure"}).status_code == 302
    asked = {"one": reverse("api_gold_detail", args=[gold.pk]), "all": reverse("api_gold_list", args=[slug])}
    one, every = (api(reviewer).get(address).json() for address in asked.values())
    for answer in (one, every[0]["gold"]):
        assert (answer["winner"], answer["grade"], answer["explanation"]) == (None, None, None)
        assert answer["held_back"] == str(WHY)
    changed = api(reviewer).patch(asked["one"], {"is_active": True}).json()
    assert changed["is_active"] and changed["winner"] is None
    answer_blind(reviewer=reviewer, comparison=gold, choice=Choice.UNSURE)
    assert api(reviewer).get(asked["one"]).json()["winner"] == "a"
    assert SECRET in read_main(client, "gold_list", slug) and SECRET in read_main(client, "gold_edit", gold.pk)
    assert "B: slightly better" in read_main(client, "standing_detail", slug, labeler.pk)


def test_notes_of_labelers_on_held_pairs(
    project: Project, comparisons: list[Comparison], reviewer: User, labeler: User, admin: User, sign_in: SignIn,
    api: Api,
) -> None:  # fmt: skip
    """In an axis too, which shows its parent's flags."""
    axis = add_axis(parent=project, axis="Safety", question="Which is safer?", by=admin)
    Comparison.objects.filter(prompt=comparisons[0].prompt).update(hold=Hold.HELD)
    Flag.objects.create(comparison=comparisons[0], labeler=labeler, reason="identity", note="Right is Claude.")
    Flag.objects.create(comparison=comparisons[0], reason="identity", note="I am Claude")
    for where in (project, axis):
        page = read_main(sign_in(reviewer), "held_list", where.slug)
        assert "I am Claude" in page and "Right is Claude." not in page
        notes = api(reviewer).get(reverse("api_held_list", args=[where.slug])).json()["results"][0]["flags"]
        assert [flag["note"] for flag in notes] == ["", "I am Claude"]
    answer_blind(reviewer=reviewer, comparison=comparisons[0], choice=Choice.UNSURE)
    for where in (project, axis):
        assert "Right is Claude." in read_main(sign_in(reviewer), "held_list", where.slug)
