"""Qualifying, being paused by gold, appealing, being reinstated: rule, page, API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import Assignment, Choice, Grade, Judgment, Project, Role, SkipReason, StandingDecision
from annotate.selectors.gold import list_gold, list_records
from annotate.selectors.standing import find_decision
from annotate.services.assignments import next_comparison
from annotate.services.gold import change_gold, make_gold
from annotate.services.judgments import skip_comparison, submit_judgment, undo_judgment
from annotate.services.standing import Action, PausedError, StandingError, appeal, decide_standing
from tests.annotate.test_next_comparison import hand_out
from tests.conftest import MakeComparison

Api = Callable[[User], APIClient]
SignIn = Callable[[User], Client]
GOOD, WRONG = "good", "wrong"


@pytest.fixture
def gold_project(project: Project, admin: User, make_comparison: MakeComparison) -> Project:
    """Three gold pairs to qualify by, and forty more of which every second turn is one; the bar is 0.7."""
    project.qualification_pairs, project.gold_rate = 3, 0.5
    project.save()
    for _number in range(43):
        make_gold(comparison=make_comparison(), winner="a", grade=Grade.SIGNIFICANTLY, by=admin)
    for _number in range(60):
        make_comparison(need=2)
    return project


def answer(labeler: User, project: Project, how: str = GOOD) -> Judgment:
    """For response a, or for the other one, significantly."""
    held = hand_out(labeler, project)
    on_left = (held.left_response == "a") == (how == GOOD)
    choice = Choice.LEFT_SIGNIFICANTLY if on_left else Choice.RIGHT_SIGNIFICANTLY
    return submit_judgment(labeler=labeler, project=project, token=held.token, choice=choice)


def qualify(labeler: User, project: Project, how: str = GOOD) -> None:
    for _number in range(project.qualification_pairs):
        answer(labeler, project, how)


def work_until_paused(labeler: User, project: Project) -> int:
    for number in range(60):
        try:
            answer(labeler, project, WRONG)
        except PausedError:
            return number
    raise AssertionError("never paused")


def read_steps(project: Project, labeler: User) -> list[str]:
    return list(StandingDecision.objects.filter(project=project, labeler=labeler).values_list("action", flat=True))


def test_the_first_pairs_are_gold_and_decide(gold_project: Project, labeler: User, teammate: User) -> None:
    qualify(labeler, gold_project)
    assert set(Assignment.objects.values_list("kind", flat=True)) == {"qualification"}
    assert read_steps(gold_project, labeler) == ["qualified"]
    assert next_comparison(labeler=labeler, project=gold_project)
    qualify(teammate, gold_project, WRONG)
    decision = find_decision(gold_project, teammate)
    assert decision and decision.action == "failed" and decision.by is None
    assert {"gold": 3, "mean": 0.0, "bar": 0.7}.items() <= decision.evidence.items()
    with pytest.raises(PausedError) as caught:
        next_comparison(labeler=teammate, project=gold_project)
    assert "gold" not in str(caught.value)
    with pytest.raises(PausedError):
        undo_judgment(labeler=teammate, project=gold_project)


def test_qualification_cannot_be_skipped_away_and_waits_for_enough_gold(
    project: Project, labeler: User, teammate: User, admin: User, make_comparison: MakeComparison
) -> None:
    project.qualification_pairs = 2
    project.save()
    make_comparison(need=2)
    first = make_gold(comparison=make_comparison(), winner="a", grade=Grade.SLIGHTLY, by=admin)
    assert hand_out(teammate, project).kind == "ordinary", "one gold pair is too little to ask for two"
    make_gold(comparison=make_comparison(), winner="a", grade=Grade.SLIGHTLY, by=admin)
    for _number in range(2):
        held = hand_out(labeler, project)
        skip_comparison(labeler=labeler, project=project, token=held.token, reason=SkipReason.OTHER)
    assert next_comparison(labeler=labeler, project=project) is None
    decide_standing(project=project, labeler=labeler, action=Action.QUALIFIED, by=admin)
    assert hand_out(labeler, project).kind == "ordinary"
    assert change_gold(gold=first, by=admin, is_active=False)


def test_an_adversary_is_paused_some_pairs_later_and_no_answer_is_lost(gold_project: Project, labeler: User) -> None:
    qualify(labeler, gold_project)
    work_until_paused(labeler, gold_project)
    decision = find_decision(gold_project, labeler)
    assert decision and decision.action == "paused" and decision.evidence["e_value"] >= 100
    answered = Judgment.objects.filter(labeler=labeler).count()
    gold = Judgment.objects.filter(labeler=labeler, assignment__kind="gold")
    assert decision.takes_effect_at == answered and gold.count() >= decision.evidence["gold"] >= 3


def test_a_good_labeler_works_on(gold_project: Project, labeler: User) -> None:
    for _number in range(45):
        answer(labeler, gold_project)
    assert read_steps(gold_project, labeler) == ["qualified"]


def test_reviewers_are_never_paused(gold_project: Project, labeler: User, admin: User) -> None:
    qualify(labeler, gold_project, WRONG)
    gold_project.memberships.filter(user=labeler).update(role=Role.REVIEWER)
    assert next_comparison(labeler=labeler, project=gold_project)
    with pytest.raises(StandingError, match="Only labelers"):
        decide_standing(project=gold_project, labeler=labeler, action=Action.PAUSED, by=admin, words="No.")


def test_an_answer_under_way_is_stored_though_its_labeler_was_paused(
    gold_project: Project, labeler: User, admin: User
) -> None:
    qualify(labeler, gold_project)
    held = hand_out(labeler, gold_project)
    decide_standing(project=gold_project, labeler=labeler, action=Action.PAUSED, by=admin, words="Call me.")
    said = submit_judgment(labeler=labeler, project=gold_project, token=held.token, choice=Choice.LEFT_SLIGHTLY)
    assert said.pk and not said.surplus
    with pytest.raises(PausedError):
        next_comparison(labeler=labeler, project=gold_project)


def test_appeal_upheld_reinstated_and_the_test_starts_afresh(gold_project: Project, labeler: User, admin: User) -> None:
    qualify(labeler, gold_project, WRONG)
    give: dict[str, Any] = {"project": gold_project, "labeler": labeler}
    for action in (Action.UPHELD, Action.PAUSED, Action.QUALIFIED):
        with pytest.raises(StandingError, match="makes no sense"):
            decide_standing(**give, action=action, by=admin, words="x")
    with pytest.raises(StandingError, match="few words"):
        appeal(**give, words="  ")
    appeal(**give, words="The guidelines say otherwise.")
    with pytest.raises(StandingError, match="did already"):
        appeal(**give, words="Hello?")
    with pytest.raises(StandingError) as caught:
        decide_standing(**give, action=Action.UPHELD, by=admin)
    assert caught.value.field == "words"
    decide_standing(**give, action=Action.UPHELD, by=admin, words="Please read part 2.")
    with pytest.raises(StandingError):
        appeal(**give, words="Again!")
    decide_standing(**give, action=Action.REINSTATED, by=admin)
    assert read_steps(gold_project, labeler) == ["failed", "appealed", "upheld", "reinstated"]
    assert list_records(gold_project)[0].tested == 0
    for _number in range(8):
        answer(labeler, gold_project)
    assert read_steps(gold_project, labeler)[-1] == "reinstated", "what was before no longer counts"
    work_until_paused(labeler, gold_project)
    assert read_steps(gold_project, labeler)[-1] == "paused"


def test_records_and_suspicious_gold(
    gold_project: Project, labeler: User, teammate: User, outsider: User, admin: User
) -> None:
    gold_project.memberships.create(user=outsider)
    gold_project.qualification_pairs = 43
    gold_project.save()
    for person in (labeler, teammate, outsider):
        for _number in range(43):
            answer(person, gold_project, GOOD if person == teammate else WRONG)
    rows = list_gold(gold_project)
    assert all(row.judged == 3 and row.mean == pytest.approx(1 / 3) and row.is_suspicious for row in rows)
    appeal(project=gold_project, labeler=outsider, words="All of it?")
    first, second, third = list_records(gold_project)
    assert (first.labeler, first.appeals, first.mean, first.judged) == (outsider, True, 0.0, 43)
    assert (second.labeler, second.is_paused) == (labeler, True) and second.evidence > 1e6
    assert (third.labeler, third.is_paused, third.mean) == (teammate, False, 1.0)
    for row in rows:
        change_gold(gold=row.gold, by=admin, is_active=False)
    assert all(record.judged == 0 for record in list_records(gold_project))


def test_the_page_says_it_kindly_takes_an_appeal_and_tells_the_outcome(
    gold_project: Project, labeler: User, admin: User, sign_in: SignIn
) -> None:
    qualify(labeler, gold_project, WRONG)
    client, url = sign_in(labeler), reverse("compare", args=[gold_project.slug])
    page = client.get(url).content.decode()
    assert "Your work here is paused" in page and "Thank you for trying" in page and "Send the appeal" in page
    assert not [word for word in ("gold", "credit", "known answer", "Undo") if word in page]
    send = reverse("compare_appeal", args=[gold_project.slug])
    assert client.post(send, {"words": " "}).status_code == 422
    assert client.post(send, {"words": "x" * 3000}).status_code == 422
    page = client.post(send, {"words": "<b>Look</b> again."}, follow=True).content.decode()
    assert "&lt;b&gt;Look&lt;/b&gt; again." in page and "The reviewers have it" in page and "Send" not in page
    give: dict[str, Any] = {"project": gold_project, "labeler": labeler, "by": admin}
    decide_standing(**give, action=Action.UPHELD, words="Part 2 asks for care.")
    page = client.get(url).content.decode()
    assert "the pause stays" in page and "Part 2 asks for care." in page
    decide_standing(**give, action=Action.REINSTATED)
    assert "Left response" in client.get(url).content.decode()


def test_the_api_says_it_in_the_same_words(gold_project: Project, labeler: User, api: Api) -> None:
    qualify(labeler, gold_project, WRONG)
    client, url = api(labeler), f"/api/v1/projects/{gold_project.slug}/"
    told = client.post(f"{url}next/")
    assert told.status_code == 409 and "no pairs in this project for now" in told.json()["detail"]
    assert client.post(f"{url}judgments/undo/", {}).status_code == 409
