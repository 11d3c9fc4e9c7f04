"""Launching a run: everything wrong is said at once; what is right waits for a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from annotate.models import DatasetVersion
from models_registry import leases
from models_registry.models import ModelKind, ModelVersion, WorkState
from tests.scenery import make_model
from training.models import Run
from training.services import LaunchErrors, cancel_run, launch_run, retry_run

Launch = Callable[..., Run]


def read_errors(launch: Launch, **changed: Any) -> dict[str, str]:
    with pytest.raises(LaunchErrors) as caught:
        launch(**changed)
    assert not Run.objects.filter(name=changed.get("name", "first run"), epoch=0, state="queued").exists()
    return dict(caught.value.errors)


def test_run_waits_with_checked_settings(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(leases, "send_hint", sent.append)
    with django_capture_on_commit_callbacks(execute=True):
        run = launch(values={"learning_rate": "1e-4", "epochs": ""}, name="  my   run ")
    assert (run.state, run.name) == ("queued", "my run")
    assert (run.config["learning_rate"], run.config["epochs"], run.config["beta"]) == (1e-4, 1.0, 0.1)
    assert sent == ["gpu"]


def test_settings_are_checked_by_the_engine(launch: Launch) -> None:
    errors = read_errors(launch, values={"learning_rate": "fast", "center_rewards": 1}, name="")
    assert set(errors) == {"learning_rate", "center_rewards", "name"}


def test_unknown_method(launch: Launch) -> None:
    assert "method" in read_errors(launch, method="magic")


def test_dataset_must_be_finished_and_hold_pairs(launch: Launch, dataset_version: DatasetVersion) -> None:
    dataset_version.train_rows = 0
    assert "no training pairs" in read_errors(launch)["dataset_version"]
    dataset_version.state = WorkState.RUNNING
    assert "not finished" in read_errors(launch)["dataset_version"]


def test_base_must_be_ready_and_of_the_right_kind(launch: Launch, admin: User) -> None:
    absent = make_model(admin, "still downloading", ready=False)
    assert "not ready" in read_errors(launch, base_model=absent)["base_model"]
    reward = make_model(admin, "a judge", kind=ModelKind.REWARD)
    assert "needs a policy" in read_errors(launch, base_model=reward)["base_model"]
    assert launch(base_model=reward, method="reward").state == "queued"


def test_name_is_taken(launch: Launch) -> None:
    launch()
    with pytest.raises(LaunchErrors, match="already"):
        launch()
    assert Run.objects.count() == 1


def test_cancel_and_retry(launch: Launch) -> None:
    run = launch()
    with pytest.raises(leases.CannotRetry):
        retry_run(run=run, by=run.created_by)
    cancel_run(run=run, by=run.created_by)
    run.refresh_from_db()
    assert run.state == "cancelled"
    with pytest.raises(leases.CannotCancel):
        cancel_run(run=run, by=run.created_by)
    retry_run(run=run, by=run.created_by)
    run.refresh_from_db()
    assert (run.state, run.cancel_requested) == ("queued", False)


def test_launch_takes_keywords_only(dataset_version: DatasetVersion, base_model: ModelVersion, admin: User) -> None:
    with pytest.raises(TypeError):
        launch_run(dataset_version, base_model, "dpo", {}, "run", by=admin)  # type: ignore[call-arg]
