"""Bodies that no program should send: 400 in words, never a crash; and crashes that answer in JSON."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import Comparison, Judgment, Project
from tests.annotate.test_next_comparison import hand_out

Api = Callable[[User], APIClient]


def deepen(levels: int) -> str:
    return '{"notes": ' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a":' * 100_000, deepen(33), deepen(5000)])
def test_deep_nesting_is_refused(api: Api, admin: User, project: Project, body: str) -> None:
    url = reverse("api_dataset_list", args=[project.slug])
    answer = api(admin).generic("POST", url, body, content_type="application/json")
    assert answer.status_code == 400
    assert "nested more than 32 deep" in str(answer.json().get("notes") or answer.json()["detail"])


def test_nesting_up_to_the_limit_reaches_the_view(api: Api, admin: User, project: Project) -> None:
    url = reverse("api_dataset_list", args=[project.slug])
    answer = api(admin).generic("POST", url, deepen(32), content_type="application/json")
    assert answer.status_code == 400
    assert answer.json() == {"notes": ["Not a valid string."]}


@pytest.mark.parametrize(("text", "code"), [("\\ud800", "D800"), ("\\udfff", "DFFF"), ("a\\u0000", "0000")])
@pytest.mark.parametrize("place", ['"choice": "{}"', '"choice": "unsure", "{}": 1', '"choice": ["{}"]'])
def test_texts_that_cannot_be_stored_are_refused(
    api: Api, labeler: User, project: Project, comparisons: list[Comparison], text: str, code: str, place: str
) -> None:
    token = hand_out(labeler, project).token
    body = f'{{"token": "{token}", {place.replace("{}", text)}}}'
    url = reverse("api_judgment_list", args=[project.slug])
    answer = api(labeler).generic("POST", url, body, content_type="application/json")
    assert answer.status_code == 400
    (place_named,) = answer.json()
    assert place_named == ("choice" if '"choice": "unsure"' not in place else "detail")
    assert f"U+{code}" in str(answer.json())
    assert not Judgment.objects.exists()


def test_whole_characters_beyond_16_bits_pass(
    api: Api, labeler: User, project: Project, comparisons: list[Comparison]
) -> None:
    body = f'{{"token": "{hand_out(labeler, project).token}", "reason": "unfit", "note": "\\ud83d\\ude00"}}'
    url = reverse("api_comparison_skip", args=[project.slug])
    assert api(labeler).generic("POST", url, body, content_type="application/json").status_code == 201
    assert Judgment.objects.get().skip_reason.endswith("\U0001f600")


@pytest.mark.parametrize(("path", "kind"), [("/api/v1/login/", "application/json"), ("/", "text/html; charset=utf-8")])
def test_a_crash_answers_the_api_in_json_and_a_person_by_a_page(
    client: Client, admin: User, monkeypatch: pytest.MonkeyPatch, path: str, kind: str
) -> None:
    for name in ("config.views.describe_house", "config.api.get_adapter"):
        monkeypatch.setattr(name, lambda *_args: 1 / 0)
    client.force_login(admin)
    client.raise_request_exception = False
    data = {"username": "labeler", "password": "x"}
    answer = client.post(path, data, content_type="application/json") if "api" in path else client.get(path)
    assert (answer.status_code, answer["Content-Type"]) == (500, kind)
    assert "Something broke on our side" in answer.content.decode()


def test_a_missing_address_below_the_api_answers_in_json(client: Client, db: None) -> None:
    assert "nothing at this address" in client.get("/api/v1/nothing/").json()["detail"]
