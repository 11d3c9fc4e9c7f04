"""The archive: what is put away is hidden, kept, and can be taken out again; services refuse what would need it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import AuditEvent, DatasetVersion, Project
from annotate.services.sampling import SamplingError, retry_sampling, start_sampling
from annotate.services.scoring import ScoringError, start_scoring
from models_registry.leases import CannotRetry
from models_registry.models import ModelKind, ModelVersion, WorkState
from models_registry.promotions import PromotionError, promote, withdraw
from models_registry.services import retry_import
from tests import scenery
from training.archiving import ArchiveError, archive, restore
from training.models import Run
from training.services import LaunchErrors, retry_run

SignIn = Callable[[User], Client]
Api = Callable[[User], APIClient]


def test_an_alias_must_be_taken_first(base: ModelVersion, admin: User) -> None:
    promote(model=base, alias="production", note="It was there.", by=admin)
    with pytest.raises(ArchiveError, match=r"is production\. Give the alias to another model or withdraw it"):
        archive(base, reason="old", by=admin)
    withdraw(model=base, alias="production", by=admin)
    archive(base, reason="old", by=admin)
    base.refresh_from_db()
    assert (base.archived_by, base.archive_reason, base.archived_at is not None) == (admin, "old", True)
    with pytest.raises(PromotionError, match=r"is archived\. Restore it first"):
        promote(model=base, alias="production", note="again", by=admin)
    with pytest.raises(ArchiveError, match="archived already"):
        archive(base, reason="old", by=admin)
    restore(base, by=admin)
    base.refresh_from_db()
    assert (base.archived_at, base.archived_by, base.archive_reason) == (None, None, "")
    assert [(event.action, event.note, event.by) for event in base.events.all()] == [
        ("restored", "", admin),
        ("archived", "old", admin),
    ]
    with pytest.raises(ArchiveError, match="not archived"):
        restore(base, by=admin)


@pytest.mark.parametrize("state", [WorkState.QUEUED, WorkState.RUNNING])
def test_what_is_being_made_is_not_put_away(
    state: WorkState, dataset: DatasetVersion, base: ModelVersion, project: Project, admin: User
) -> None:
    coming = scenery.make_model(admin, "coming", ready=False)
    scenery.make_import(coming, state=state)
    for thing in (
        scenery.make_run(dataset, base, state=state),
        scenery.make_dataset(project, 2, state=state, finished_at=None),
        coming,
    ):
        with pytest.raises(ArchiveError, match="still being made"):
            archive(thing, reason="x", by=admin)


def test_nothing_new_begins_with_what_is_archived(
    launch: Callable[..., Run], dataset_version: DatasetVersion, base_model: ModelVersion, project: Project, admin: User
) -> None:
    judge = scenery.make_model(admin, "judge", kind=ModelKind.REWARD)
    for thing in (base_model, judge, dataset_version):
        archive(thing, reason="x", by=admin)
        thing.refresh_from_db()
    with pytest.raises(LaunchErrors) as refused:
        launch()
    assert {field for field, _reason in refused.value.errors} == {"dataset_version", "base_model"}
    assert "archived" in str(refused.value)
    with pytest.raises(SamplingError, match="archived"):
        start_sampling(project=project, new_prompts=["Why?"], model_a=base_model, model_b=base_model, by=admin)
    with pytest.raises(ScoringError, match="archived"):
        start_scoring(project=project, model=judge, by=admin)


def test_what_was_begun_goes_on_unless_the_weights_went(
    dataset: DatasetVersion, base: ModelVersion, project: Project, admin: User
) -> None:
    run = scenery.make_run(dataset, base, state=WorkState.FAILED)
    job = start_sampling(project=project, new_prompts=["Why?"], model_a=base, model_b=base, by=admin)
    type(job).objects.update(state=WorkState.FAILED)
    coming = scenery.make_import(scenery.make_model(admin, "coming", ready=False), state=WorkState.FAILED)
    for thing in (run, base, coming.model):
        archive(thing, reason="x", by=admin)
    with pytest.raises(CannotRetry, match="archived"):
        retry_run(run=run, by=admin)
    with pytest.raises(CannotRetry, match="archived"):
        retry_import(model_import=coming)
    restore(run, by=admin)
    ModelVersion.objects.filter(pk=base.pk).update(weights_removed_at=base.created_at)
    with pytest.raises(CannotRetry, match="were removed"):
        retry_run(run=run, by=admin)
    with pytest.raises(CannotRetry, match="were removed"):
        retry_sampling(job=job, by=admin)
    ModelVersion.objects.filter(pk=base.pk).update(weights_removed_at=None)
    retry_run(run=run, by=admin)
    retry_sampling(job=job, by=admin)
    assert set(Run.objects.values_list("state", flat=True)) == {WorkState.QUEUED}


@pytest.mark.parametrize("kind", ["models", "runs", "datasets"])
def test_pages_hide_tell_and_restore(
    kind: str, sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion, project: Project
) -> None:
    run = scenery.make_run(dataset, base, state=WorkState.FAILED)
    thing: Any = {"models": base, "runs": run, "datasets": dataset}[kind]
    lists = {"models": reverse("model_list"), "runs": reverse("run_list")}
    listed = lists.get(kind, reverse("dataset_list", args=[project.slug]))
    page = reverse(
        {"models": "model_detail", "runs": "run_detail", "datasets": "dataset_detail"}[kind], args=[thing.pk]
    )
    client, form = sign_in(admin), reverse("archive", args=[kind, thing.pk])
    assert f'href="{page}"' in client.get(listed).content.decode()
    assert f'href="{form}"' in client.get(page).content.decode()
    assert client.get(form).status_code == 200
    assert client.post(form, {"reason": ""}).status_code == 422
    done = client.post(form, {"reason": "no good <b>"}, follow=True).content.decode()
    assert "is archived." in done
    assert "no good &lt;b&gt;" in done
    assert f'href="{page}"' not in client.get(listed).content.decode()
    assert f'href="{page}"' in client.get(listed, {"archived": "1"}).content.decode()
    again = client.post(form, {"reason": "x"})
    assert (again.status_code, "archived already" in again.content.decode()) == (422, True)
    assert (
        "is restored." in client.post(reverse("archive_restore", args=[kind, thing.pk]), follow=True).content.decode()
    )
    assert f'href="{page}"' in client.get(listed).content.decode()
    if kind != "models":
        noted = AuditEvent.objects.order_by("pk").values_list("action", "number", "after")
        assert list(noted) == [("archived", thing.pk, {"reason": "no good <b>"}), ("restored", thing.pk, {})]


def test_choices_leave_out_what_is_archived(
    sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    archive(base, reason="x", by=admin)
    archive(dataset, reason="x", by=admin)
    offered = sign_in(admin).get(reverse("run_new")).context["form"]
    assert not offered.fields["base"].queryset.exists()
    assert not offered.fields["dataset"].queryset.exists()


def test_the_api_archives_and_lists(api: Api, admin: User, base: ModelVersion, dataset: DatasetVersion) -> None:
    client, address = api(admin), reverse("api_archive", args=["models", base.pk])
    assert client.post(address, {}).json() == {"reason": ["This field is required."]}
    assert client.post(address, {"reason": "old"}).json()["archive_reason"] == "old"
    assert client.get(reverse("api_model_list")).json()["results"] == []
    [listed] = client.get(reverse("api_model_list"), {"archived": "1"}).json()["results"]
    assert (listed["id"], listed["archive_reason"]) == (base.pk, "old")
    assert client.get(address).json()["archived_by"] == "admin"
    assert client.post(address, {"reason": "old"}).status_code == 400
    assert client.delete(address).status_code == 204
    assert client.get(address).json() == {"archived_at": None, "archived_by": None, "archive_reason": ""}
    assert client.delete(address).status_code == 400
    assert client.get(f"/api/v1/archive/people/{admin.pk}/").status_code == 404
