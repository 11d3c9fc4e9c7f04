"""Dataset versions on their pages and in the API."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.exporting.rule import DatasetRule
from annotate.models import Comparison, DatasetVersion, Project
from annotate.services.datasets import build_dataset_version
from models_registry import leases
from models_registry.models import WorkState
from tests.annotate.votes import vote
from tests.scenery import make_dataset

SignIn = Callable[[User], Client]
FORM = {
    "aggregation": "majority",
    "min_votes": "1",
    "grades": ["significantly", "slightly", "negligibly"],
    "count_surplus": "on",
    "eval_percent": "0",
    "split_seed": "0",
    "notes": "first",
}


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, settings: Any) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.fixture
def judged(project: Project, make_comparison: Callable[..., Comparison], labeler: User) -> Project:
    """Three voted comparisons, one of them with text that must never become markup, and one without votes."""
    vote(make_comparison("Why <b>so</b>?", "<script>alert(1)</script>", "Because."), labeler, "a")
    vote(make_comparison(), labeler, "b", "significantly")
    vote(make_comparison(), labeler, "")
    make_comparison()
    return project


def build(version: DatasetVersion) -> DatasetVersion:
    claimed = leases.claim(version, "worker")
    assert claimed is not None
    build_dataset_version(claimed, lambda: None)
    version.refresh_from_db()
    return version


def test_form_previews_freezes_and_the_page_shows_the_result(sign_in: SignIn, admin: User, judged: Project) -> None:
    client, url = sign_in(admin), reverse("dataset_new", args=[judged.slug])
    assert "No version yet" in client.get(reverse("dataset_list", args=[judged.slug])).content.decode()
    page = client.get(url).content.decode()
    assert "What it would give" in page and "No votes yet" in page
    response = client.post(url, FORM)
    version = DatasetVersion.objects.get()
    assert response["Location"] == reverse("dataset_detail", args=[version.pk])
    assert (version.notes, version.created_by, version.rule["eval_share"]) == ("first", admin, 0.0)
    waiting = client.get(response["Location"]).content.decode()
    assert 'hx-trigger="every 1s"' in waiting and "files/train" not in waiting
    build(version)
    page = client.get(response["Location"]).content.decode()
    assert "hx-trigger" not in page.split('id="dataset-state"')[1]
    assert version.train_sha256 in page and "Launch a run" in page and f"?dataset={version.pk}" in page
    assert "<script>alert" not in page and "<b>so</b>" not in page and "&lt;script&gt;" in page
    assert "first" in client.get(reverse("dataset_list", args=[judged.slug])).content.decode()


def test_preview_follows_the_form_and_freezes_nothing(sign_in: SignIn, admin: User, judged: Project) -> None:
    client, url = sign_in(admin), reverse("dataset_new", args=[judged.slug])
    htmx = {"HX-Request": "true"}
    fragment = client.post(url, FORM | {"show": "1"}, headers=htmx).content.decode()
    assert "<html" not in fragment and '<dd class="figure">2</dd>' in fragment
    fragment = client.post(url, FORM | {"show": "1", "grades": ["significantly"]}, headers=htmx).content.decode()
    assert '<dd class="figure">1</dd>' in fragment and "A grade that the rule leaves out" in fragment
    response = client.post(url, FORM | {"show": "1", "min_votes": "0", "grades": []}, headers=htmx)
    assert response.status_code == 200 and "The rule has a mistake" in response.content.decode()
    without_script = client.post(url, FORM | {"show": "1", "min_votes": "2"}).content.decode()
    assert "<html" in without_script and "No row comes of this rule" in without_script
    assert not DatasetVersion.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_votes": "0"},
        {"eval_percent": "51"},
        {"grades": []},
        {"split_seed": "x"},
        {"left_out_labelers": ["999"]},
        {"left_out_labelers": [str(2**63)]},
    ],
)
def test_a_bad_rule_is_answered_beside_its_field(
    sign_in: SignIn, admin: User, judged: Project, wrong: dict[str, Any]
) -> None:
    response = sign_in(admin).post(reverse("dataset_new", args=[judged.slug]), FORM | wrong)
    assert response.status_code == 422 and "text-error" in response.content.decode()
    assert not DatasetVersion.objects.exists()


def test_an_empty_project_is_told_so(sign_in: SignIn, admin: User, project: Project) -> None:
    response = sign_in(admin).post(reverse("dataset_new", args=[project.slug]), FORM)
    assert response.status_code == 422 and "no comparisons yet" in response.content.decode()


def test_a_failed_version_says_why_and_can_be_tried_again(
    sign_in: SignIn, admin: User, comparisons: list[Comparison], project: Project
) -> None:
    client = sign_in(admin)
    version = make_dataset(project, rule=DatasetRule().as_json(), state=WorkState.QUEUED, finished_at=None)
    DatasetVersion.objects.update(counts={"comparison_cutoff": comparisons[-1].pk})
    claimed = leases.claim(version, "worker")
    assert claimed is not None
    with pytest.raises(leases.WorkFailed) as caught:
        build_dataset_version(claimed, lambda: None)
    leases.fail(claimed, caught.value.code, str(caught.value))
    page = client.get(reverse("dataset_detail", args=[version.pk])).content.decode()
    assert "4 × no votes yet" in page and "Try again" in page
    client.post(reverse("dataset_retry", args=[version.pk]))
    client.post(reverse("dataset_cancel", args=[version.pk]))
    version.refresh_from_db()
    assert version.state == WorkState.CANCELLED


def test_download_streams_the_file_as_an_attachment(sign_in: SignIn, admin: User, judged: Project) -> None:
    client = sign_in(admin)
    client.post(reverse("dataset_new", args=[judged.slug]), FORM)
    version = DatasetVersion.objects.get()
    url = reverse("dataset_download", args=[version.pk, "train"])
    assert client.get(url).status_code == 404
    build(version)
    response = client.get(url)
    body = read_stream(response)
    assert response.streaming and hashlib.sha256(body).hexdigest() == version.train_sha256
    assert response["Content-Type"] == "application/x-ndjson" and response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Disposition"] == 'attachment; filename="kitchen-help-v1-train.jsonl"'
    assert response["ETag"] == f'"{version.train_sha256}"' and response["Content-Length"] == str(len(body))
    card = read_stream(client.get(reverse("dataset_download", args=[version.pk, "card"])))
    assert version.train_sha256.encode() in card
    for name in ("..", "secret", "train.jsonl"):
        assert client.get(f"/datasets/{version.pk}/files/{name}/").status_code == 404


def test_api_freezes_lists_shows_and_downloads(
    api: Callable[[User], APIClient], admin: User, judged: Project, labeler: User
) -> None:
    client, url = api(admin), reverse("api_dataset_list", args=[judged.slug])
    response = client.post(url, {"rule": {"aggregation": "unanimous", "eval_share": 0}, "notes": "by script"})
    assert response.status_code == 202 and response.data["rule"]["aggregation"] == "unanimous"
    version = build(DatasetVersion.objects.get())
    data = client.get(reverse("api_dataset_detail", args=[version.pk])).json()
    assert (data["state"], data["train_rows"], data["left_out"]) == ("finished", 2, {"unsure": 1, "no_votes": 1})
    assert data["project"] == judged.slug and data["train_sha256"] == version.train_sha256
    assert [row["number"] for row in client.get(url).json()["results"]] == [1]
    body = read_stream(client.get(reverse("api_dataset_file", args=[version.pk, "train"])))
    assert hashlib.sha256(body).hexdigest() == version.train_sha256
    assert client.post(url, {}).status_code == 202  # the default rule
    bad: list[Any] = [
        {"eval_share": 0.9},
        {"grades": []},
        {"grades": ["unsure"]},
        {"left_out_labelers": [10**6]},
        {"left_out_labelers": [2**63]},
        "x",
        3,
    ]
    for rule in bad:
        assert client.post(url, {"rule": rule}).status_code == 400, rule
    assert DatasetVersion.objects.count() == 2


@pytest.mark.parametrize("kind", ["json", "multipart"])
def test_api_names_fields_that_it_does_not_know(
    api: Callable[[User], APIClient], admin: User, judged: Project, kind: str
) -> None:
    client, url = api(admin), reverse("api_dataset_list", args=[judged.slug])
    inner = {"rule": {"agregation": "single", "min_votes": 1}} if kind == "json" else {"agregation": "single"}
    bodies: list[tuple[dict[str, Any], str]] = [({"note": "misspelt"}, "note"), ({"min_votes": 3}, "min_votes")]
    for body, name in [*bodies, (inner, "agregation")]:
        answer = client.post(url, body, format=kind)
        errors = answer.json()
        assert answer.status_code == 400 and "no such field" in errors.get("rule", errors)[name][0], body
    assert not DatasetVersion.objects.exists()
    good = {"rule": {"min_votes": 1}, "notes": "x"} if kind == "json" else {"rule.min_votes": "1", "notes": "x"}
    assert client.post(url, good, format=kind).status_code == 202


def test_a_rule_that_gives_nothing_is_not_frozen(
    sign_in: SignIn, api: Callable[[User], APIClient], admin: User, judged: Project
) -> None:
    answer = sign_in(admin).post(reverse("dataset_new", args=[judged.slug]), FORM | {"min_votes": "2"})
    alert = answer.content.decode().split('id="rule"')[1].split("</p>")[0]
    assert answer.status_code == 422 and "No row comes of this rule" in alert
    body = {"rule": {"min_votes": 2, "eval_share": 0}}
    refused = api(admin).post(reverse("api_dataset_list", args=[judged.slug]), body)
    assert refused.status_code == 400 and "No row comes of this rule" in refused.json()["non_field_errors"][0]
    assert not DatasetVersion.objects.exists()


def test_nobody_else_sees_or_freezes(
    sign_in: SignIn, api: Callable[[User], APIClient], admin: User, labeler: User, judged: Project
) -> None:
    sign_in(admin).post(reverse("dataset_new", args=[judged.slug]), FORM)
    version = build(DatasetVersion.objects.get())
    client = sign_in(labeler)
    for name, args in (
        ("dataset_list", [judged.slug]),
        ("dataset_new", [judged.slug]),
        ("dataset_detail", [version.pk]),
        ("dataset_download", [version.pk, "train"]),
    ):
        assert client.get(reverse(name, args=args)).status_code == 403
    assert api(labeler).get(reverse("api_dataset_file", args=[version.pk, "train"])).status_code == 403
    assert api(labeler).post(reverse("api_dataset_list", args=[judged.slug]), {}).status_code == 403


def read_stream(response: Any) -> bytes:
    return b"".join(response.streaming_content)
