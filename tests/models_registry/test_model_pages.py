"""The list of models and adding base models: page and API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from models_registry.models import ModelImport, ModelVersion, WorkState
from models_registry.templatetags.registry import short_count
from tests import scenery

SignIn = Callable[[User], Client]
Api = Callable[[User], APIClient]
URL = "/api/v1/models/"


@pytest.fixture
def folders(settings: Any, tmp_path: Path) -> Path:
    """A place with one folder that looks like a model, and one that does not."""
    settings.MODEL_ROOTS = [tmp_path]
    for name, file in (("tiny-llama", "model.safetensors"), ("holiday", "photo.jpg")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).touch()
    return tmp_path


def test_an_empty_registry_says_what_to_do(sign_in: SignIn, admin: User) -> None:
    page = sign_in(admin).get(reverse("model_list")).content.decode()
    assert "No model yet" in page
    assert reverse("model_add") in page


def test_the_list_shows_facts_and_polls_only_while_a_model_is_on_its_way(sign_in: SignIn, admin: User) -> None:
    client = sign_in(admin)
    scenery.make_model(admin)
    page = client.get(reverse("model_list")).content.decode()
    assert "134.5 M" in page
    assert "every 2s" not in page
    work = scenery.make_import(scenery.make_model(admin, "coming", ready=False), message="Fetching")
    page = client.get(reverse("model_list"), headers={"HX-Request": "true"}).content.decode()
    assert "every 2s" in page
    assert "<html" not in page
    ModelImport.objects.filter(pk=work.pk).update(state=WorkState.FAILED, cause="No way to the hub.")
    page = client.get(reverse("model_list")).content.decode()
    assert "No way to the hub." in page
    assert "every 2s" not in page
    assert reverse("model_retry", args=[work.model_id]) in page


def test_one_click_adds_the_demo_model_once(sign_in: SignIn, admin: User) -> None:
    client = sign_in(admin)
    for _click in range(2):
        client.post(reverse("model_add"), {"source": "demo"})
    model = ModelVersion.objects.get()
    assert (model.source, model.model_import.state, model.created_by) == ("demo", WorkState.QUEUED, admin)
    assert "It is in the registry" in client.get(reverse("model_add")).content.decode()


def test_only_listed_folders_can_be_added(sign_in: SignIn, admin: User, folders: Path) -> None:
    client = sign_in(admin)
    page = client.get(reverse("model_add")).content.decode()
    assert "tiny-llama" in page
    assert "holiday" not in page
    assert str(folders) in page
    for ref in ("0/holiday", "0/../../etc", str(folders / "tiny-llama"), ""):
        answer = client.post(reverse("model_add"), {"source": "folder", "folder-ref": ref})
        assert answer.status_code == 422
        assert 'id="id_folder-ref_error"' in answer.content.decode()
    assert not ModelVersion.objects.exists()
    client.post(reverse("model_add"), {"source": "folder", "folder-ref": "0/tiny-llama", "folder-name": "Tiny"})
    assert ModelVersion.objects.get().name == "Tiny"


@pytest.mark.parametrize(
    ("typed", "field", "words"),
    [
        ({"hub-ref": "no-slash"}, "hub-ref", "is not a hub id"),
        ({"hub-ref": "../../etc/passwd"}, "hub-ref", "is not a hub id"),
        ({"hub-ref": "<script>/x"}, "hub-ref", "is not a hub id"),
        ({"hub-ref": ""}, "hub-ref", "required"),
        ({"hub-ref": "org/model", "hub-name": "taken"}, "hub-name", "already"),
        ({"hub-ref": "org/model", "hub-name": "x" * 101}, "hub-name", "at most 100"),
    ],
)
def test_bad_input_gets_words_at_its_field(
    sign_in: SignIn, admin: User, typed: dict[str, str], field: str, words: str
) -> None:
    scenery.make_model(admin, "taken")
    answer = sign_in(admin).post(reverse("model_add"), {"source": "hub"} | typed)
    page = answer.content.decode()
    assert answer.status_code == 422
    error = page.partition(f'id="id_{field}_error">')[2].partition("<")[0]
    assert words in error
    assert "<script>/x" not in page
    assert ModelVersion.objects.count() == 1


def test_an_unknown_source_does_no_harm(sign_in: SignIn, admin: User) -> None:
    assert sign_in(admin).post(reverse("model_add"), {"source": "usb-stick"}).status_code == 422


def test_a_failed_preparation_is_tried_again_and_a_waiting_one_cancelled(sign_in: SignIn, admin: User) -> None:
    client = sign_in(admin)
    work = scenery.make_import(scenery.make_model(admin, ready=False), state=WorkState.FAILED, cause="x")
    client.post(reverse("model_retry", args=[work.model_id]))
    work.refresh_from_db()
    assert (work.state, work.cause) == (WorkState.QUEUED, "")
    client.post(reverse("model_cancel", args=[work.model_id]))
    work.refresh_from_db()
    assert work.state == WorkState.CANCELLED
    answer = client.post(reverse("model_cancel", args=[work.model_id]), follow=True)
    assert "over already" in answer.content.decode()
    assert client.post(reverse("model_retry", args=[987654])).status_code == 404


@pytest.mark.parametrize("name", ["model_list", "model_add"])
def test_the_registry_is_for_admins(sign_in: SignIn, labeler: User, client: Client, name: str) -> None:
    assert client.get(reverse(name)).status_code == 302
    assert sign_in(labeler).get(reverse(name)).status_code == 403


def test_models_through_the_api(api: Api, admin: User, folders: Path) -> None:
    client = api(admin)
    base = scenery.make_model(admin)
    made = client.post(URL, {"source": "folder", "ref": "0/tiny-llama"})
    assert made.status_code == 202
    assert made.json()["preparation"]["state"] == "queued"
    rows = client.get(URL).json()["results"]
    assert [row["name"] for row in rows] == ["tiny-llama", base.name]
    one = client.get(f"{URL}{base.pk}/").json()
    assert (one["facts"]["parameters"], one["preparation"], one["kind"]) == (134_515_008, None, "policy")
    assert client.post(URL, {"source": "demo"}).json()["id"] == base.pk


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "source"),
        ({"source": "usb"}, "source"),
        ({"source": "folder", "ref": "0/holiday"}, "ref"),
        ({"source": "hub", "ref": "x"}, "ref"),
        ({"source": "hub", "ref": "a/b", "name": "\u0007"}, "name"),
    ],
)
def test_bad_requests_name_field_and_reason(
    api: Api, admin: User, folders: Path, asked: dict[str, Any], field: str
) -> None:
    answer = api(admin).post(URL, asked)
    assert answer.status_code == 400
    assert list(answer.json()) == [field]
    assert not ModelVersion.objects.exists()


def test_the_api_is_for_admins(api: Api, labeler: User) -> None:
    client = api(labeler)
    assert [client.get(URL).status_code, client.get(f"{URL}1/").status_code] == [403, 403]
    assert client.post(URL, {"source": "demo"}).status_code == 403


@pytest.mark.parametrize(
    ("number", "words"), [(None, ""), (950, "950"), (15_191_712, "15.2 M"), (134_515_008, "134.5 M"), (7e9, "7.0 B")]
)
def test_counts_are_short(number: float | None, words: str) -> None:
    assert short_count(number) == words
