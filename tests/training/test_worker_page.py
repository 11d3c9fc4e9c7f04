"""The page of the workers, and asking for one: launch form, API, a run that no worker can take, its priority."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.test import Client
from rest_framework.test import APIClient

from annotate.models import AuditEvent, DatasetVersion
from models_registry.machines import GB, Gpu, Machine
from models_registry.models import ModelVersion, Worker
from models_registry.workers import beat
from tests.scenery import make_run
from tests.training.test_launch_page import read_form
from training.models import Run

SignIn = Callable[[User], Client]
BIG = Machine(
    gpus=(Gpu("NVIDIA H200", 150 * GB),) * 2,
    labels=("h200", "eu"),
    processor="EPYC",
    cores=16,
    memory=128 * GB,
    disk_free=64 * GB,
    versions={"plumbline": "0.0.1", "torch": "2.13.0"},
)


@pytest.fixture
def workers(dataset: DatasetVersion, base: ModelVersion) -> Run:
    """One at work, one idle, one silent; gives what the first is at."""
    beat("gpu-1@here", ["gpu"], BIG)
    beat("idle@here", ["short"])
    beat("gone@there", ["gpu"])
    Worker.objects.filter(name="gone@there").update(seen_at=Now() - timedelta(hours=1))
    return make_run(dataset, base, state="running", owner="gpu-1@here:4711", step=7)


def test_page_tells_what_each_worker_has_and_does(workers: Run, admin: User, sign_in: SignIn) -> None:
    page = sign_in(admin).get("/workers/").content.decode()
    for text in (
        "NVIDIA H200",
        "h200",
        "16 cores",
        f'href="/runs/{workers.pk}/"',
        "7 / 68",
        "not this server",
        "torch",
    ):
        assert text in page, text
    assert page.count("badge-error") == page.count("badge-info") == page.count("badge-success") == 1
    assert "No worker is up" not in page
    part = sign_in(admin).get("/workers/", headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part and 'id="worker-table"' in part
    Worker.objects.exclude(name="gone@there").delete()
    assert "No worker is up" in sign_in(admin).get("/workers/").content.decode()


def test_api_tells_the_same(workers: Run, admin: User, api: Callable[[User], APIClient]) -> None:
    gone, first, idle = api(admin).get("/api/v1/workers/").json()
    assert [worker["state"] for worker in (gone, first, idle)] == ["silent", "working", "idle"]
    assert first["gpus"] == [{"name": "NVIDIA H200", "memory": 150 * GB}] * 2
    assert first["works"][0] | {"started_at": ""} == {"kind": "run", "id": workers.pk, "epoch": 1, "started_at": ""}
    assert (first["labels"], first["versions"]["plumbline"]) == (["h200", "eu"], "0.0.1")


def test_launched_with_a_place_that_the_page_of_the_run_explains(
    dataset_version: DatasetVersion, base_model: ModelVersion, admin: User, sign_in: SignIn
) -> None:
    beat("gpu-1@here", ["gpu"], BIG)
    client = sign_in(admin)
    form = read_form(client.get("/runs/new/").content.decode()) | {
        "dataset": dataset_version.pk,
        "base": base_model.pk,
        "name": "far",
        "gpus": "2",
    }
    form |= {"gpu_memory_gb": "80", "label": "us", "sharding": "shards", "priority": "3"}
    refused = client.post("/runs/new/", form)
    assert refused.status_code == 422 and "say why, for those who wait" in refused.content.decode()
    answer = client.post("/runs/new/", form | {"reason": "The demo is tomorrow."}, follow=True)
    run = Run.objects.get(name="far")
    assert (run.gpus, run.gpu_memory_gb, run.label, run.sharding, run.priority) == (2, 80, "us", "shards", 3)
    assert "a worker with 2 GPUs of at least 80 GB, the label us, and none is up" in answer.content.decode()
    assert AuditEvent.objects.get(kind="run").after["reason"] == "The demo is tomorrow."
    again = client.get(f"/runs/new/?like={run.pk}").content.decode()
    assert 'name="label" value="us"' in again and 'value="3" selected' not in again

    client.post(f"/runs/{run.pk}/priority/", {"priority": "0"})
    run.refresh_from_db()
    assert run.priority == 0
    assert AuditEvent.objects.latest("pk").after == {"priority": "low"}
    Run.objects.filter(pk=run.pk).update(state="running")
    refused = client.post(f"/runs/{run.pk}/priority/", {"priority": "2"}, follow=True)
    assert "Only a run that waits" in refused.content.decode()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"gpus": 65}, "gpus"),
        ({"gpu_memory_gb": 40}, "gpu_memory_gb"),
        ({"label": "A 100"}, "label"),
        ({"sharding": "shards", "gpus": 1}, "sharding"),
        ({"priority": "urgent"}, "reason"),
        ({"priority": "soon"}, "priority"),
    ],
)
def test_api_names_what_is_wrong_with_a_place(
    launch: Any,
    dataset_version: DatasetVersion,
    base_model: ModelVersion,
    admin: User,
    api: Callable[[User], APIClient],
    wrong: dict[str, Any],
    field: str,
) -> None:
    asked = {"method": "dpo", "dataset_version": dataset_version.pk, "base_model": base_model.pk, "placement": wrong}
    answer = api(admin).post("/api/v1/runs/", asked)
    assert answer.status_code == 400 and list(answer.json()["placement"]) == [field], answer.json()


def test_api_places_and_moves_a_run(
    dataset_version: DatasetVersion, base_model: ModelVersion, admin: User, api: Callable[[User], APIClient]
) -> None:
    asked = {"method": "dpo", "dataset_version": dataset_version.pk, "base_model": base_model.pk}
    run = api(admin).post("/api/v1/runs/", asked | {"placement": {"priority": "high", "label": "a100"}}).json()
    assert (run["priority"], run["label"], run["gpus"], run["sharding"]) == ("high", "a100", 0, "copies")
    moved = api(admin).post(f"/api/v1/runs/{run['id']}/priority/", {"priority": "urgent", "reason": "Broken."})
    assert moved.json()["priority"] == "urgent"
    assert api(admin).get(f"/api/v1/runs/{run['id']}/").json()["hindrance"] == "No worker for training is up."
    assert api(admin).post("/api/v1/runs/", asked).json()["priority"] == "normal"
