"""The estimate on the launch page and in the API: drawn with the form, following it, silent where it errs."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from annotate.models import DatasetVersion
from models_registry.machines import GB, Gpu, Machine
from models_registry.models import ModelVersion
from models_registry.workers import beat
from tests.training.test_launch_page import read_form
from training.models import Run

NEW, PANEL, API = "/runs/new/", "/runs/new/estimate/", "/api/v1/runs/estimate/"
CPU = Machine(processor="EPYC", cores=2, memory=24 * GB, disk_free=100 * GB)


@pytest.fixture(autouse=True)
def _own_files(tmp_path: Path, settings: Any) -> None:
    """A dataset's folder is named by its number: an earlier test's may lie there."""
    settings.DATA_DIR = tmp_path


@pytest.fixture
def client(client: Client, admin: User) -> Client:
    client.force_login(admin)
    return client


@pytest.fixture
def ask(client: Client, dataset: DatasetVersion, base: ModelVersion) -> Callable[..., str]:
    """ask(batch_size="8"): the panel for the form with this typed over."""

    def ask(method: str = "dpo", **typed: str) -> str:
        values = read_form(client.get(NEW, {"method": method}).content.decode())
        answer = client.get(PANEL, values | typed, headers={"HX-Request": "true"})
        assert answer.status_code == 200
        return html.unescape(answer.content.decode())

    return ask


def test_the_page_comes_with_an_estimate_and_asks_again(
    client: Client, dataset: DatasetVersion, base: ModelVersion
) -> None:
    page = client.get(NEW).content.decode()
    panel = page.partition('id="run-estimate"')[2]
    assert f'hx-get="{PANEL}"' in panel and "delay:500ms" in panel
    assert "<dd><span" in panel and "Steps" in panel and ">34<" in panel
    assert "Put it into the form" not in panel  # it needs JavaScript
    assert re.search(r'role="status" id="run-verdict">No worker for training is up. Estimated: 34 steps, about', page)


@pytest.mark.parametrize("method", ["sft", "dpo", "reward"])
def test_the_panel_follows_what_is_typed(ask: Callable[..., str], method: str) -> None:
    beat("cpu@here", ["gpu"], CPU)
    panel = ask(method, epochs="3", batch_size="1", gradient_accumulation="1")
    assert ">813<" in panel and "of 1 pair each" in panel
    assert re.search(r'hx-swap-oob="innerHTML">Fits: .* of .* of memory', panel)
    assert "EPYC of the worker cpu@here" in panel
    assert "<html" not in panel


@pytest.mark.parametrize(
    "typed", [{"batch_size": "many"}, {"dataset": "999"}, {"gpu_memory_gb": "9"}, {"limit_gb": "-1"}, {"base": ""}]
)
def test_where_a_field_errs_there_is_no_estimate_yet(ask: Callable[..., str], typed: dict[str, str]) -> None:
    panel = ask(**typed)
    assert "There is no estimate yet" in panel
    assert re.search(r'id="run-verdict"[^>]*></p>', panel)


def test_a_launch_that_errs_is_drawn_without_one(client: Client, dataset: DatasetVersion, base: ModelVersion) -> None:
    values = read_form(client.get(NEW).content.decode())
    answer = client.post(NEW, values | {"epochs": "often"})
    assert answer.status_code == 422 and "There is no estimate yet" in answer.content.decode()


def test_the_proposal_goes_into_the_form_and_the_rows_of_a_step_stay(
    client: Client, ask: Callable[..., str], dataset: DatasetVersion, base: ModelVersion
) -> None:
    beat("gpu@here", ["gpu"], Machine(gpus=(Gpu("NVIDIA L4", 10 * GB),), disk_free=500 * GB))
    typed = {"batch_size": "64", "gradient_accumulation": "1", "tokens_per_pass": "1000000"}
    panel = ask(**typed, gradient_checkpointing="off")
    proposed = re.search(r'hx-vals=\'{"batch_size": (\d+), "gradient_accumulation": (\d+)', panel)
    assert "Fits on no worker that is up" in panel
    assert proposed and 1 <= int(proposed[1]) < 64 and int(proposed[1]) * int(proposed[2]) == 64
    taken = dict(zip(("batch_size", "gradient_accumulation"), proposed.groups(), strict=True)) | {"focus": "estimate"}
    values = read_form(client.get(NEW).content.decode())
    form = client.get(NEW, values | typed | taken | {"gradient_checkpointing": "off"}).content.decode()
    assert read_form(form).items() >= {"batch_size": proposed[1], "gradient_accumulation": proposed[2]}.items()
    assert 'id="run-estimate" tabindex="-1" autofocus' in form
    assert "Fits: " in html.unescape(form)


def test_what_fits_nowhere_can_be_launched(client: Client, dataset: DatasetVersion, base: ModelVersion) -> None:
    beat("cpu@here", ["gpu"], dataclasses.replace(CPU, memory=GB))
    page = client.get(NEW, {"method": "dpo"}).content.decode()
    assert "You may launch it all the same" in page and "No batch is small enough" in page
    client.post(NEW, read_form(page))
    assert Run.objects.get().method == "dpo"


def test_several_gpus_show_the_configuration_that_starts_them(ask: Callable[..., str]) -> None:
    panel = ask(gpus="2", sharding="shards")
    assert 'distributed_type: "FSDP"' in panel and "num_processes: 2" in panel
    assert "No worker for training is up" in panel
    assert "How accelerate will start it" not in ask(gpus="1")


def test_the_api_tells_the_same(
    api: Callable[[User], APIClient], admin: User, dataset: DatasetVersion, base: ModelVersion, client: Client
) -> None:
    beat("cpu@here", ["gpu"], CPU)
    body = {"method": "dpo", "dataset_version": dataset.pk, "base_model": base.pk, "values": {"epochs": 3}, "name": "x"}
    told = api(admin).post(API, body)
    assert told.status_code == 200
    found = told.json()
    assert (found["steps"], found["steps_are_exact"], found["effective_batch"]) == (102, False, 8)
    assert (found["memory"]["fits"], found["device"]["worker"], found["time"]["run"]) == (True, "cpu@here", None)
    assert sum(found["memory"]["parts"].values()) == found["memory"]["total"]
    assert found["verdict"].startswith("Fits: ") and found["warnings"] == [] and found["launcher"] == ""
    assert not Run.objects.exists()
    several = body | {"placement": {"gpus": 2}}
    assert [warning["code"] for warning in api(admin).post(API, several).json()["warnings"]] == ["hindrance"]


def test_the_api_refuses_what_could_not_be_launched(
    api: Callable[[User], APIClient], admin: User, labeler: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    body: dict[str, Any] = {"method": "dpo", "dataset_version": dataset.pk, "base_model": base.pk}
    wrong = body | {"values": {"epochs": 0}, "placement": {"gpu_memory_gb": 4}, "limit_gb": -1}
    answer = api(admin).post(API, wrong)
    assert answer.status_code == 400
    assert {*answer.json()} == {"values", "placement", "limit_gb"}
    assert api(labeler).post(API, body).status_code == 403
