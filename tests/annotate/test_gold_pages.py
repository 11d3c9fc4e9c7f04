"""Pages and API of gold pairs and standings, for those who review."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import AuditEvent, Choice, Comparison, GoldAnswer, Grade, Project, Response, Role
from annotate.services.adjudication import answer_blind
from annotate.services.gold import make_gold
from annotate.services.standing import appeal
from tests.annotate.test_standing import WRONG, qualify
from tests.annotate.votes import vote
from tests.conftest import MakeComparison

Api = Callable[[User], APIClient]
SignIn = Callable[[User], Client]


@pytest.fixture
def reviewer(project: Project, teammate: User) -> User:
    project.memberships.filter(user=teammate).update(role=Role.REVIEWER)
    return teammate


@pytest.fixture
def failed(project: Project, labeler: User, admin: User, make_comparison: MakeComparison) -> User:
    """The labeler, who gave the opposite of both known answers."""
    project.qualification_pairs = 2
    project.save()
    for _number in range(2):
        make_gold(comparison=make_comparison(), winner="a", grade=Grade.SIGNIFICANTLY, by=admin)
    make_comparison()
    qualify(labeler, project, WRONG)
    return labeler


def test_a_reviewer_makes_changes_retires_and_unmakes_gold(
    reviewer: User, labeler: User, comparisons: list[Comparison], sign_in: SignIn, project: Project
) -> None:
    client, pair = sign_in(reviewer), comparisons[0]
    vote(pair, labeler)
    edit, manage = reverse("gold_edit", args=[pair.pk]), reverse("gold_retire", args=[pair.pk])
    assert "1 vote was cast on it" in client.get(edit).content.decode()
    assert client.post(edit, {"choice": "both_bad"}).status_code == 422
    assert client.post(edit, {"choice": "right_slightly", "explanation": "<i>B</i> answers."}).status_code == 302
    assert GoldAnswer.objects.get().winner == "b"
    page = client.get(reverse("comparison_detail", args=[pair.pk])).content.decode()
    assert "B: slightly better" in page and "&lt;i&gt;B&lt;/i&gt; answers." in page
    client.post(edit, {"choice": "unsure"})
    assert (GoldAnswer.objects.get().winner, GoldAnswer.objects.get().grade) == ("", "unsure")
    client.post(manage, {"do": "retire"})
    page = client.get(reverse("gold_list", args=[project.slug])).content.decode()
    assert "Retired" in page and "0 gold pairs are in use" in page
    assert "no such action" in client.post(manage, {"do": "dance"}, follow=True).content.decode()
    client.post(manage, {"do": "unmake"})
    assert not GoldAnswer.objects.exists()
    log = AuditEvent.objects.filter(project=project).order_by("pk").values_list("action", flat=True)
    assert list(log) == ["gold_made", "gold_changed", "gold_changed", "gold_unmade"]


def test_a_reviewer_reads_a_record_and_decides_on_an_appeal(
    project: Project, failed: User, reviewer: User, sign_in: SignIn
) -> None:
    appeal(project=project, labeler=failed, words="<b>Why?</b>")
    client, url = sign_in(reviewer), reverse("standing_detail", args=[project.slug, failed.pk])
    assert "Appealed" in client.get(reverse("standing_list", args=[project.slug])).content.decode()
    for gold in Comparison.objects.exclude(gold=None):
        answer_blind(reviewer=reviewer, comparison=gold, choice=Choice.UNSURE)
    page = client.get(url).content.decode()
    for words in (
        "A: significantly better",
        "&lt;b&gt;Why?&lt;/b&gt;",
        "by the gold pairs",
        "Uphold the pause",
        "0.00",
    ):
        assert words in page, words
    assert "Let in without" not in page
    refused = client.post(url, {"action": "upheld"})
    assert refused.status_code == 422 and "Say in a few words why." in refused.content.decode()
    assert client.post(url, {"action": "dance"}).status_code == 422
    page = client.post(url, {"action": "reinstated", "words": "Go on."}, follow=True).content.decode()
    assert "Reinstated" in page and "Go on." in page and 'value="paused"' in page


def test_api_of_gold(project: Project, reviewer: User, labeler: User, comparisons: list[Comparison], api: Api) -> None:
    client, url = api(reviewer), f"/api/v1/projects/{project.slug}/gold/"
    made = client.post(url, {"comparison": comparisons[0].pk, "winner": "a", "grade": "slightly"})
    assert made.status_code == 201 and made.json()["created_by"] == "teammate"
    assert client.post(url, {"comparison": comparisons[0].pk, "winner": "a", "grade": "slightly"}).status_code == 409
    assert client.post(url, {"comparison": comparisons[1].pk, "grade": "slightly"}).json() == {
        "winner": ["An answer names a side and by how much, or neither side."]
    }
    assert "comparison" in client.post(url, {"comparison": 10**30, "grade": "unsure"}).json()
    one = f"/api/v1/comparisons/{comparisons[0].pk}/gold/"
    assert client.patch(one, {"grade": "negligibly", "explanation": "Close."}).json()["grade"] == "negligibly"
    assert client.patch(one, {"winner": ""}).status_code == 400
    (row,) = client.get(url).json()
    assert (row["judged"], row["mean"], row["is_suspicious"], row["gold"]["winner"]) == (0, None, False, "a")
    assert client.delete(one).status_code == 204 and client.get(one).status_code == 404
    assert api(labeler).get(url).status_code == 403


def test_api_tells_no_labeler_which_pairs_are_gold(
    project: Project, reviewer: User, labeler: User, outsider: User, comparisons: list[Comparison], api: Api
) -> None:
    gold, other = (f"/api/v1/comparisons/{each.pk}/gold/" for each in comparisons[:2])
    made = {"comparison": comparisons[0].pk, "winner": "a", "grade": "slightly"}
    assert api(reviewer).post(f"/api/v1/projects/{project.slug}/gold/", made).status_code == 201
    for person, code in ((labeler, 403), (outsider, 404)):
        for method in ("get", "patch", "delete"):
            told = [getattr(api(person), method)(url) for url in (gold, other)]
            assert [answer.status_code for answer in told] == [code, code]
            assert told[0].json() == told[1].json(), method
    assert api(reviewer).get(gold).status_code == 200 and api(reviewer).get(other).status_code == 404


@pytest.mark.parametrize("number", [0, 2**63, 10**20])
def test_api_of_gold_answers_404_for_a_number_that_no_pair_can_have(
    project: Project, reviewer: User, api: Api, number: int
) -> None:
    for method in ("get", "patch", "delete"):
        assert getattr(api(reviewer), method)(f"/api/v1/comparisons/{number}/gold/").status_code == 404


def test_api_of_standings(project: Project, failed: User, reviewer: User, api: Api) -> None:
    own, mine = f"/api/v1/projects/{project.slug}/standing/", api(failed)
    told = mine.get(own).json()
    assert told["is_paused"] and told["may_appeal"] and "gold" not in str(told)
    assert mine.post(own, {"words": "Look again."}).json()["appeal"] == "Look again."
    assert mine.post(own, {"words": "And again."}).status_code == 409
    client, url = api(reviewer), f"/api/v1/projects/{project.slug}/standings/"
    assert [row["username"] for row in client.get(url).json()] == ["labeler", "teammate"]
    one = f"{url}{failed.pk}/"
    assert client.post(one, {"action": "upheld"}).json() == {"words": ["Say in a few words why."]}
    assert client.post(one, {"action": "upheld", "words": "Read part 2."}).json()["is_paused"]
    told = mine.get(own).json()
    assert (told["answer"], told["is_upheld"], told["may_appeal"]) == ("Read part 2.", True, False)
    record = client.post(one, {"action": "reinstated"}).json()
    assert [step["action"] for step in record["log"]] == ["failed", "appealed", "upheld", "reinstated"]
    assert mine.get(own).json()["is_paused"] is False
    assert client.get(f"{url}{reviewer.pk + 1000}/").status_code == 404


def test_settings_of_gold_are_for_leads(project: Project, admin: User, labeler: User, api: Api) -> None:
    url = f"/api/v1/projects/{project.slug}/"
    changed = api(admin).patch(url, {"gold_rate": 0.1, "qualification_pairs": 5, "gold_bar": 0.8})
    assert (changed.json()["gold_rate"], changed.json()["qualification_pairs"], changed.json()["gold_bar"]) == (
        0.1,
        5,
        0.8,
    )
    assert api(admin).patch(url, {"gold_rate": 0.6}).status_code == 400
    assert api(admin).patch(url, {"gold_bar": 1}).status_code == 400
    assert "gold_rate" not in api(labeler).get(url).json()


def test_pairs_that_nobody_judged_are_offered_and_found_by_words(
    project: Project, reviewer: User, labeler: User, make_comparison: MakeComparison, sign_in: SignIn
) -> None:
    judged, leak, gold, plain, bread = (make_comparison() for _ in range(5))
    vote(judged, labeler)
    Comparison.objects.filter(pk=leak.pk).update(hold="held", need=0)
    make_gold(comparison=gold, winner="a", grade=Grade.SLIGHTLY, explanation="", by=reviewer)
    Response.objects.filter(pk=bread.response_b_id).update(text="Knead the SOURDOUGH.")
    client, address = sign_in(reviewer), reverse("gold_list", args=[project.slug])

    def ask(**asked: str) -> list[int]:
        return [pair.pk for pair in client.get(address, asked).context["unjudged"]]

    assert ask() == [plain.pk, bread.pk]
    assert ask(search="sourdough") == [bread.pk]
    assert ask(search="100%_") == []
    assert ask(search="x" * 201) == ask(search="\0") == [plain.pk, bread.pk]
    assert reverse("gold_edit", args=[plain.pk]) in client.get(address).content.decode()
