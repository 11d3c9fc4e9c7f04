"""Removing a dataset version that failed or was cancelled; a finished one is there for good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import DatasetVersion, Project
from annotate.services.datasets import CannotRemove, remove_dataset
from models_registry import leases
from models_registry.models import WorkState
from tests.scenery import make_dataset

SignIn = Callable[[User], Client]
STAYS = [WorkState.QUEUED, WorkState.RUNNING, WorkState.FINISHED]
GOES = [WorkState.FAILED, WorkState.CANCELLED]


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, settings: Any) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.mark.parametrize("state", GOES)
def test_what_never_came_to_be_goes_with_its_folder(
    project: Project, state: WorkState, django_capture_on_commit_callbacks: Any
) -> None:
    version = make_dataset(project, state=state)
    version.attempt_folder.mkdir(parents=True)
    with django_capture_on_commit_callbacks(execute=True):
        remove_dataset(version=version, by=version.created_by)
    assert not DatasetVersion.objects.exists() and not version.folder.exists()


@pytest.mark.parametrize("state", STAYS)
def test_any_other_stays_as_it_is(project: Project, state: WorkState) -> None:
    version = make_dataset(project, state=state)
    version.folder.mkdir(parents=True)
    version.train_path.write_text("{}", encoding="utf-8")
    with pytest.raises(CannotRemove, match="failed or was cancelled"):
        remove_dataset(version=version, by=version.created_by)
    assert DatasetVersion.objects.get().state == state and version.train_path.read_text(encoding="utf-8") == "{}"


def test_a_version_that_is_tried_again_meanwhile_stays(project: Project) -> None:
    """What counts is the row, not what the caller read of it before."""
    stale = make_dataset(project, state=WorkState.FAILED)
    leases.retry(DatasetVersion.objects.get())
    with pytest.raises(CannotRemove):
        remove_dataset(version=stale, by=stale.created_by)


def test_the_page_asks_first_and_leads_to_the_list(sign_in: SignIn, admin: User, project: Project) -> None:
    client, version = sign_in(admin), make_dataset(project, state=WorkState.FAILED)
    page = client.get(reverse("dataset_detail", args=[version.pk])).content.decode()
    url = reverse("dataset_remove", args=[version.pk])
    assert 'popovertarget="remove-sheet"' in page and f'action="{url}"' in page
    answer = client.post(url, follow=True)
    assert answer.redirect_chain == [(reverse("dataset_list", args=[project.slug]), 302)]
    assert "Version 1 is removed." in answer.content.decode()
    assert client.post(url).status_code == 404


def test_a_finished_version_offers_nothing_of_the_kind(sign_in: SignIn, admin: User, project: Project) -> None:
    client, version = sign_in(admin), make_dataset(project)
    url = reverse("dataset_remove", args=[version.pk])
    assert url not in client.get(reverse("dataset_detail", args=[version.pk])).content.decode()
    page = client.post(url, follow=True).content.decode()
    assert "Only a version that failed or was cancelled can be removed." in page
    assert DatasetVersion.objects.filter(pk=version.pk).exists()


def test_the_api_removes_and_refuses(admin: User, project: Project, api: Callable[[User], APIClient]) -> None:
    client = api(admin)
    finished, failed = make_dataset(project, 1), make_dataset(project, 2, state=WorkState.CANCELLED)
    answer = client.delete(reverse("api_dataset_detail", args=[finished.pk]))
    assert answer.status_code == 409 and "failed or was cancelled" in answer.json()["detail"]
    assert client.delete(reverse("api_dataset_detail", args=[failed.pk])).status_code == 204
    assert list(DatasetVersion.objects.all()) == [finished]
