"""The compare page as the server gives it; how it behaves in a browser is in tests/e2e/test_compare.py."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from annotate.models import Assignment, Choice, Comparison, Judgment, Project
from annotate.services.judgments import submit_judgment
from models_registry.models import ModelVersion
from tests.annotate.test_next_comparison import LATER, hand_out
from tests.conftest import MakeComparison

SignIn = Callable[[User], Client]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def address(project: Project) -> str:
    return f"/projects/{project.slug}/compare/"


def read(response: Any) -> str:
    return str(response.content.decode())


def test_it_shows_both_texts_and_seven_answers_none_chosen(
    sign_in: SignIn, project: Project, labeler: User, make_comparison: MakeComparison, address: str
) -> None:
    make_comparison("How long do eggs boil?", "Six *minutes*.", "A while.")
    response = sign_in(labeler).get(address)
    page = read(response)
    assert response.status_code == 200
    assert "How long do eggs boil?" in page
    assert "Six <em>minutes</em>." in page
    assert "A while." in page
    assert [choice for choice in Choice if f'value="{choice.value}"' in page] == project.choices
    assert [page.count(f'value="{choice.value}"') for choice in project.choices] == [1] * 7
    assert "checked" not in page.split('id="help-sheet"')[0]
    assert "no-store" in response["Cache-Control"]


def test_sides_are_those_recorded(
    sign_in: SignIn, labeler: User, make_comparison: MakeComparison, address: str
) -> None:
    make_comparison(a="First text.", b="Second text.")
    for left in "ab":
        sign_in(labeler).get(address)
        Assignment.objects.update(left_response=left)
        page = read(sign_in(labeler).get(address))
        first_is_left = page.index("First text.") < page.index("Second text.")
        assert first_is_left == (left == "a")


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_nothing_tells_where_a_response_comes_from(
    sign_in: SignIn, admin: User, labeler: User, make_comparison: MakeComparison, address: str, headers: dict[str, str]
) -> None:
    comparison = make_comparison(recorded_winner="b")
    model = ModelVersion.objects.create(name="secret-model", source="demo", created_by=admin)
    for response in (comparison.response_a, comparison.response_b):
        response.model, response.sampling = model, {"temperature": 0.123}
        response.save()
    page = read(sign_in(labeler).get(address, headers=headers))
    for secret in ("secret-origin", "secret-model", "0.123", "recorded", "winner", "temperature", "seed"):
        assert secret not in page


def test_model_text_cannot_act(sign_in: SignIn, labeler: User, make_comparison: MakeComparison, address: str) -> None:
    make_comparison("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '<form hx-post="/people/">x</form>')
    page = read(sign_in(labeler).get(address))
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert '<form hx-post="/people/"' not in page


def test_without_htmx_an_answer_leads_back_to_the_page(
    sign_in: SignIn, project: Project, labeler: User, comparisons: list[Comparison], address: str
) -> None:
    held = hand_out(labeler, project)
    response = sign_in(labeler).post(address, {"token": held.token, "choice": "left_slightly", "seconds": ""})
    assert (response.status_code, response["Location"]) == (302, address)
    assert Judgment.objects.get().choice == "left_slightly"


def test_with_htmx_the_next_pair_comes_at_once(
    sign_in: SignIn, project: Project, labeler: User, comparisons: list[Comparison], address: str
) -> None:
    held = hand_out(labeler, project)
    payload = {"token": held.token, "choice": "unsure", "seconds": "2.5"}
    response = sign_in(labeler).post(address, payload, headers=HTMX)
    page = read(response)
    assert response.status_code == 200
    assert response["X-Compare-Desk"] == "1"
    assert page.lstrip().startswith('<div id="desk"')
    assert "<html" not in page
    assert "Question 2?" in page
    assert Judgment.objects.get().seconds <= 2.5


@pytest.mark.parametrize("choice", [None, "", "both", "LEFT_SLIGHTLY"])
def test_without_a_choice_it_says_so(
    sign_in: SignIn, project: Project, labeler: User, comparisons: list[Comparison], address: str, choice: str | None
) -> None:
    held = hand_out(labeler, project)
    payload = {"token": held.token} | ({} if choice is None else {"choice": choice})
    response = sign_in(labeler).post(address, payload)
    assert response.status_code == 422
    assert "Choose one of the answers first." in read(response)
    assert "Question 1?" in read(response)
    assert not Judgment.objects.exists()


@pytest.mark.parametrize("seconds", ["nan", "inf", "-5", "1e999", "long"])
def test_nonsense_for_seconds_costs_no_answer(
    sign_in: SignIn, project: Project, labeler: User, comparisons: list[Comparison], address: str, seconds: str
) -> None:
    held = hand_out(labeler, project)
    sign_in(labeler).post(address, {"token": held.token, "choice": "unsure", "seconds": seconds})
    assert 0 <= Judgment.objects.get().seconds < 60


def test_a_conflict_and_an_unknown_token_are_told_in_words(
    sign_in: SignIn, project: Project, labeler: User, comparisons: list[Comparison], address: str
) -> None:
    held = hand_out(labeler, project)
    submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE)
    client = sign_in(labeler)
    for token, words in ((held.token, "the first answer stands"), (uuid.uuid4(), "nothing was stored")):
        payload = {"token": token, "choice": "left_slightly"}
        fragment = client.post(address, payload, headers=HTMX)
        assert fragment.status_code == 409
        assert words in read(fragment)
        assert words in read(client.post(address, payload, follow=True))


def test_a_late_answer_to_a_full_pair_is_thanked_for(
    sign_in: SignIn, project: Project, labeler: User, teammate: User, make_comparison: MakeComparison, address: str
) -> None:
    make_comparison()
    held = hand_out(labeler, project)
    hand_out(teammate, project, now=timezone.now() + LATER)
    payload = {"token": held.token, "choice": "unsure"}
    assert "Your answer is kept" in read(sign_in(labeler).post(address, payload, headers=HTMX))
    assert Judgment.objects.get().surplus


def test_skip_needs_a_reason(
    sign_in: SignIn, project: Project, labeler: User, comparisons: list[Comparison], address: str
) -> None:
    held = hand_out(labeler, project)
    client = sign_in(labeler)
    for payload in ({}, {"reason": "dull"}, {"reason": "other", "note": "x" * 251}, {"reason": "other", "note": "\0"}):
        response = client.post(f"{address}skip/", {"token": held.token, **payload})
        assert response.status_code == 422
        assert "why you skip" in read(response)
    assert not Judgment.objects.exists()
    page = read(client.post(f"{address}skip/", {"token": held.token, "reason": "unfit"}, headers=HTMX))
    assert "Question 2?" in page


def test_undo_stands_ready_once_there_is_something(
    sign_in: SignIn, project: Project, labeler: User, comparisons: list[Comparison], address: str
) -> None:
    client = sign_in(labeler)
    assert "undo-form" not in read(client.get(address))
    vote = submit_judgment(
        labeler=labeler, project=project, token=hand_out(labeler, project).token, choice=Choice.UNSURE
    )
    assert f'value="{vote.token}"' in read(client.get(address))
    assert "Question 1?" in read(client.post(f"{address}undo/", {"token": vote.token}, headers=HTMX))
    nothing = client.post(f"{address}undo/", {}, headers=HTMX)
    assert nothing.status_code == 409
    assert "no answer of yours" in read(nothing)


def test_heartbeat(
    sign_in: SignIn, project: Project, labeler: User, comparisons: list[Comparison], address: str
) -> None:
    held = hand_out(labeler, project)
    Assignment.objects.update(expires_at=timezone.now() + timedelta(seconds=5))
    client = sign_in(labeler)
    assert client.post(f"{address}heartbeat/", {"token": held.token}).json()["expires_at"]
    assert Assignment.objects.get().expires_at > timezone.now() + timedelta(seconds=60)
    assert client.post(f"{address}heartbeat/", {"token": "x"}).json() == {"expires_at": None}


def test_it_says_why_there_is_nothing(
    sign_in: SignIn, project: Project, labeler: User, teammate: User, make_comparison: MakeComparison, address: str
) -> None:
    client = sign_in(labeler)
    assert "nothing to compare yet" in read(client.get(address))
    make_comparison()
    held = hand_out(teammate, project)
    assert "Others hold the last pairs" in read(client.get(address))
    submit_judgment(labeler=teammate, project=project, token=held.token, choice=Choice.UNSURE)
    assert "all the votes it needs" in read(client.get(address))
    Project.objects.update(archived_at=timezone.now(), guidelines="")
    page = read(client.get(address))
    assert "This project is closed" in page
    assert "has no guidelines" in page


@pytest.mark.parametrize("path", ["", "skip/", "undo/", "heartbeat/"])
def test_it_is_for_members(sign_in: SignIn, outsider: User, client: Client, address: str, path: str) -> None:
    assert client.post(address + path)["Location"].startswith("/accounts/login/")
    assert sign_in(outsider).post(address + path).status_code == 404


def test_the_next_page_costs_few_queries(
    sign_in: SignIn,
    project: Project,
    labeler: User,
    comparisons: list[Comparison],
    address: str,
    django_assert_max_num_queries: Callable[..., AbstractContextManager[Any]],
) -> None:
    client = sign_in(labeler)
    client.get(address)
    with django_assert_max_num_queries(20):
        client.get(address)
