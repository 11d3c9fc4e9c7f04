"""Runs through the API: the same services and words as the pages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from annotate.models import AuditEvent, DatasetVersion
from models_registry.models import ModelVersion, WorkState
from tests import scenery
from training.engine.recipes import RECIPES
from training.models import Run

Api = Callable[[User], APIClient]
URL = "/api/v1/runs/"


def test_a_run_is_launched_listed_and_read(api: Api, admin: User, dataset: DatasetVersion, base: ModelVersion) -> None:
    client = api(admin)
    answer = client.post(
        URL, {"method": "dpo", "dataset_version": dataset.pk, "base_model": base.pk, "values": {"epochs": 2}}
    )
    assert answer.status_code == 202
    run = Run.objects.get()
    assert (run.config["epochs"], run.name, run.created_by) == (2.0, "SmolLM2-135M-Instruct-dpo-1", admin)
    assert answer.json()["state"] == "queued"
    assert [row["id"] for row in client.get(URL).json()["results"]] == [run.pk]
    one = client.get(f"{URL}{run.pk}/").json()
    assert (one["dataset_version"], one["base_model"], one["model"]) == (dataset.pk, base.pk, None)


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"method": "ppo"}, "method", "not a valid choice"),
        ({"dataset_version": 999}, "dataset_version", "object does not exist"),
        ({"dataset_version": 10**30}, "dataset_version", "object does not exist"),
        ({"dataset_version": 1.5}, "dataset_version", "valid integer"),
        ({"base_model": "x"}, "base_model", "valid integer"),
        ({"name": "x" * 101}, "name", "no more than 100"),
        ({"values": [1]}, "values", "Expected a dictionary"),
        ({"name": "taken"}, "name", "already"),
    ],
)
def test_bad_requests_name_field_and_reason(
    api: Api,
    admin: User,
    dataset: DatasetVersion,
    base: ModelVersion,
    change: dict[str, object],
    field: str,
    words: str,
) -> None:
    scenery.make_run(dataset, base, name="taken")
    request = {"method": "dpo", "dataset_version": dataset.pk, "base_model": base.pk} | change
    answer = api(admin).post(URL, request)
    assert answer.status_code == 400
    assert words in answer.json()[field][0]
    assert Run.objects.count() == 1


def test_bad_settings_are_named_where_they_stood(
    api: Api, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    values = {"learning_rate": "fast", "label_smoothing": 0.1, "colour": "red"}
    answer = api(admin).post(
        URL, {"method": "reward", "dataset_version": dataset.pk, "base_model": base.pk, "values": values}
    )
    assert answer.status_code == 400
    assert answer.json() == {
        "values": {
            "learning_rate": ["must be a number"],
            "label_smoothing": ["does not apply to reward"],
            "colour": ["is no setting"],
        }
    }


def test_a_recipe_fills_what_the_request_leaves_out(
    api: Api, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    request = {"method": "dpo", "dataset_version": dataset.pk, "base_model": base.pk, "recipe": "dpo-paper"}
    answer = api(admin).post(URL, request | {"values": {"learning_rate": "3e-6"}})
    assert (answer.status_code, answer.json()["recipe"]) == (202, "dpo-paper")
    config = answer.json()["config"]
    assert (config["warmup_steps"], config["schedule"], config["max_length"]) == (150, "constant", 512)
    assert config["learning_rate"] == 3e-6, "an explicit setting wins"
    usual = api(admin).post(URL, request | {"values": {"warmup_steps": 0}}).json()["config"]
    assert usual["warmup_steps"] == 0, "also where it says the usual value"


@pytest.mark.parametrize("recipe", ["nobody's", "orpo-paper"])
def test_a_recipe_that_is_none_of_the_method_s_is_refused(
    api: Api, admin: User, dataset: DatasetVersion, base: ModelVersion, recipe: str
) -> None:
    request = {"method": "reward", "dataset_version": dataset.pk, "base_model": base.pk, "recipe": recipe}
    answer = api(admin).post(URL, request)
    assert (answer.status_code, answer.json()) == (400, {"recipe": ["There is no such recipe for this method."]})
    assert not Run.objects.exists()


def test_a_field_that_is_none_is_named(api: Api, admin: User, dataset: DatasetVersion, base: ModelVersion) -> None:
    request = {"method": "dpo", "dataset_version": dataset.pk, "base_model": base.pk, "learning_rate": 1e-6}
    answer = api(admin).post(URL, request)
    assert (answer.status_code, list(answer.json())) == (400, ["learning_rate"])


def test_recipes_are_listed_with_source_and_values(api: Api, admin: User, labeler: User) -> None:
    listed = {row["name"]: row for row in api(admin).get("/api/v1/recipes/").json()}
    assert set(listed) == set(RECIPES)
    paper = listed["dpo-paper"]
    assert (paper["method"], paper["values"]["warmup_steps"]) == ("dpo", 150) and "2305.18290" in paper["reference"]
    assert api(labeler).get("/api/v1/recipes/").status_code == 403


def test_what_is_not_ready_is_refused_in_words(api: Api, admin: User, dataset: DatasetVersion) -> None:
    unready = scenery.make_model(admin, "unready", ready=False)
    answer = api(admin).post(URL, {"method": "dpo", "dataset_version": dataset.pk, "base_model": unready.pk})
    assert answer.json() == {"base_model": ["unready is not ready yet."]}


def test_true_is_no_number(api: Api, admin: User, dataset: DatasetVersion, base: ModelVersion) -> None:
    body = {"method": "dpo", "dataset_version": dataset.pk, "base_model": base.pk}
    answer = api(admin).post(URL, body | {"limit_hours": True})
    assert (answer.status_code, list(answer.json())) == (400, ["limit_hours"])
    answer = api(admin).post(URL, body | {"placement": {"gpus": True, "hosts": False}})
    assert (answer.status_code, sorted(answer.json()["placement"])) == (400, ["gpus", "hosts"])
    assert not Run.objects.exists()


def test_clone_with_changes(api: Api, admin: User, dataset: DatasetVersion, base: ModelVersion) -> None:
    original = scenery.make_run(dataset, base, "simpo", config={"beta": 2.5})
    client = api(admin)
    answer = client.post(f"{URL}{original.pk}/clone/", {"values": {"learning_rate": 3e-6}})
    assert answer.status_code == 202
    clone = answer.json()
    assert (clone["method"], clone["config"]["beta"], clone["cloned_from"]) == ("simpo", 2.5, original.pk)
    assert clone["changes"] == {"learning_rate": [original.config["learning_rate"], 3e-6]}
    wrong = client.post(f"{URL}{original.pk}/clone/", {"values": {"learning_rate": "fast"}})
    assert (wrong.status_code, "learning_rate" in wrong.json()["values"]) == (400, True)


def test_pause_and_resume(api: Api, admin: User, dataset: DatasetVersion, base: ModelVersion) -> None:
    run = scenery.make_run(dataset, base, state="running")
    client = api(admin)
    answer = client.post(f"{URL}{run.pk}/pause/")
    assert (answer.status_code, answer.json()["pause_requested"]) == (202, True)
    assert "Only what is paused" in client.post(f"{URL}{run.pk}/resume/").json()["non_field_errors"][0]
    Run.objects.filter(pk=run.pk).update(state="paused", pause_requested=False)
    assert client.post(f"{URL}{run.pk}/resume/").json()["state"] == "queued"


@pytest.mark.parametrize("move", ["cancel", "pause"])
def test_what_is_asked_twice_is_noted_once(
    api: Api, admin: User, dataset: DatasetVersion, base: ModelVersion, move: str
) -> None:
    run = scenery.make_run(dataset, base, state=WorkState.RUNNING)
    assert [api(admin).post(f"{URL}{run.pk}/{move}/").status_code for _click in range(3)] == [202] * 3
    assert AuditEvent.objects.filter(kind="run", number=run.pk).count() == 1


def test_cancel_and_retry(api: Api, admin: User, dataset: DatasetVersion, base: ModelVersion) -> None:
    client = api(admin)
    run = scenery.make_run(dataset, base, state=WorkState.RUNNING)
    answer = client.post(f"{URL}{run.pk}/cancel/")
    assert (answer.status_code, answer.json()["cancel_requested"]) == (202, True)
    assert "can be tried again" in client.post(f"{URL}{run.pk}/retry/").json()["non_field_errors"][0]
    Run.objects.filter(pk=run.pk).update(state=WorkState.FAILED)
    assert client.post(f"{URL}{run.pk}/retry/").json()["state"] == "queued"
    Run.objects.filter(pk=run.pk).update(state=WorkState.FINISHED)
    assert "over already" in client.post(f"{URL}{run.pk}/cancel/").json()["non_field_errors"][0]


def test_metrics(api: Api, admin: User, dataset: DatasetVersion, base: ModelVersion) -> None:
    run = scenery.make_run(dataset, base, state=WorkState.RUNNING)
    scenery.make_metrics(run, 20)
    client = api(admin)
    answer = client.get(f"{URL}{run.pk}/metrics/", {"after": 17}).json()
    assert answer["steps"] == [18, 19, 20]
    assert answer["values"]["eval_loss"][:2] == [None, None]
    assert client.get(f"{URL}{run.pk}/metrics/", {"after": "x"}).json() == {"after": ["A valid integer is required."]}


@pytest.mark.parametrize("path", ["", "1/", "1/metrics/"])
def test_reading_is_for_admins(api: Api, labeler: User, client: APIClient, path: str) -> None:
    assert api(labeler).get(URL + path).status_code == 403
    assert client.get(URL + path).status_code == 401


@pytest.mark.parametrize("path", ["", "1/cancel/", "1/clone/", "1/pause/", "1/resume/", "1/retry/"])
def test_writing_is_for_admins(api: Api, labeler: User, path: str) -> None:
    assert api(labeler).post(URL + path).status_code == 403
