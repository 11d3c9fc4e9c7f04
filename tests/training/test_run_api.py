"""Runs through the API: the same services and words as the pages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from annotate.models import DatasetVersion
from models_registry.models import ModelVersion, WorkState
from tests import scenery
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
        ({"base_model": "x"}, "base_model", "Incorrect type"),
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


def test_what_is_not_ready_is_refused_in_words(api: Api, admin: User, dataset: DatasetVersion) -> None:
    unready = scenery.make_model(admin, "unready", ready=False)
    answer = api(admin).post(URL, {"method": "dpo", "dataset_version": dataset.pk, "base_model": unready.pk})
    assert answer.json() == {"base_model": ["unready is not ready yet."]}


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


@pytest.mark.parametrize("path", ["", "1/cancel/", "1/retry/"])
def test_writing_is_for_admins(api: Api, labeler: User, path: str) -> None:
    assert api(labeler).post(URL + path).status_code == 403
