"""Limits of a run, what it uses, and what is proposed when it cannot go on as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import AuditEvent, DatasetVersion
from models_registry import leases
from models_registry.models import ModelVersion, WorkState
from models_registry.usage import Usage
from tests import scenery
from training import limits, services
from training.models import Run
from training.remedies import propose_changes

GB = limits.GB
HALF = {"batch_size": 8, "gradient_accumulation": 2}, {"batch_size": 4, "gradient_accumulation": 4}


@pytest.fixture
def run(dataset: DatasetVersion, base: ModelVersion) -> Run:
    return scenery.make_run(dataset, base, state=WorkState.RUNNING, limit_hours=2.0, limit_gb=1.5)


def read(run: Run) -> Run:
    return Run.objects.get(pk=run.pk)


def test_time_adds_up_over_attempts_until_the_limit(run: Run) -> None:
    assert limits.file_usage(run, Usage(7000, 0, {})) is None
    run.epoch += 1
    reached = limits.file_usage(run, Usage(300, 0, {}))
    assert reached and reached[0] == "hour_limit" and "2 hours" in reached[1]
    assert read(run).active_seconds == 7300


def test_disk_is_what_it_is_now(run: Run) -> None:
    assert limits.file_usage(run, Usage(1, 1 * GB, {})) is None
    reached = limits.file_usage(run, Usage(1, 2 * GB, {}))
    assert reached and reached[0] == "disk_limit" and "2.00 GB" in reached[1]
    assert limits.file_usage(run, Usage(1, 1 * GB, {})) is None


def test_paused_by_a_limit_it_goes_on_when_that_is_raised(run: Run, admin: User) -> None:
    Run.objects.filter(pk=run.pk).update(state="paused", active_seconds=7200)
    with pytest.raises(leases.CannotResume, match="its limit"):
        services.resume_run(run=read(run), by=admin)
    services.change_limits(run=run, limit_hours=3, limit_gb=1.5, by=admin)
    services.resume_run(run=read(run), by=admin)
    assert read(run).state == "queued"
    noted = AuditEvent.objects.get(action="run_limits_changed")
    assert (noted.by, noted.before, noted.after) == (admin, {"limit_hours": 2.0}, {"limit_hours": 3})


def test_samples_grow_sparse_and_stay_few(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SAMPLES_IN_FULL", 20)
    for _renewal in range(400):
        limits.file_usage(run, Usage(5, 0, {"cpu": 100.0, "memory": 2.0 * GB}))
    seconds = limits.get_usage_series(run)["seconds"]
    assert seconds[:3] == [5, 10, 15] and seconds[-1] > 1800
    assert len(seconds) < 90
    assert limits.get_usage_series(run, after=seconds[-2])["seconds"] == seconds[-1:]


def test_pages_and_api_offer_limits_and_curves(
    run: Run, client: Client, admin: User, api: Callable[[User], APIClient]
) -> None:
    limits.file_usage(run, Usage(5, GB, {"cpu": 150.0, "memory": 2.0 * GB, "gpu": 97.0}))
    client.force_login(admin)
    page = client.get(reverse("run_detail", args=[run.pk])).content.decode()
    assert 'data-x="seconds"' in page and 'data-series="gpu"' in page and 'data-series="gpu_memory"' not in page
    told = client.get(reverse("run_usage", args=[run.pk])).json()
    assert (told["steps"], told["values"]["memory"], told["values"]["cpu"]) == ([5], [2.0], [150.0])
    wrong = client.post(reverse("run_limits", args=[run.pk]), {"limit_hours": "-1"}, follow=True).content.decode()
    assert "Most hours: Must be more than 0" in wrong
    client.post(reverse("run_limits", args=[run.pk]), {"limit_hours": "2.5", "limit_gb": ""})
    assert (read(run).limit_hours, read(run).limit_gb) == (2.5, None)
    url = f"/api/v1/runs/{run.pk}/"
    assert api(admin).get(f"{url}usage/").json()["values"]["memory"] == [2.0 * GB]
    answer = api(admin).post(f"{url}limits/", {"limit_hours": None, "limit_gb": 0})
    assert (answer.status_code, list(answer.json())) == (400, ["limit_gb"])
    assert api(admin).post(f"{url}limits/", {"limit_hours": 9, "limit_gb": 7}).json()["limit_gb"] == 7


def test_new_runs_are_proposed_the_usual_limits(
    client: Client, admin: User, dataset: DatasetVersion, base: ModelVersion, settings: Any
) -> None:
    settings.RUN_LIMIT_HOURS = 48
    client.force_login(admin)
    page = client.get(reverse("run_new")).content.decode()
    assert 'name="limit_hours" value="48"' in page


@pytest.mark.parametrize(
    ("code", "cause", "config", "proposed"),
    [
        (
            "out_of_memory",
            "",
            {"batch_size": 8, "gradient_accumulation": 2},
            {"batch_size": 4, "gradient_accumulation": 4},
        ),
        ("out_of_memory", "", {"batch_size": 1}, {"gradient_checkpointing": "on"}),
        ("nan_loss", "… in step 12. Lower …", {"learning_rate": 1e-5}, {"learning_rate": 5e-6}),
        ("nan_loss", "… in step 1. Nothing …", {"learning_rate": 1e-5}, {}),
        ("bad_data", "Line 3 holds no pair.", {}, {}),
    ],
)
def test_a_failure_that_would_come_again_offers_a_clone(
    dataset: DatasetVersion,
    base: ModelVersion,
    client: Client,
    admin: User,
    code: str,
    cause: str,
    config: dict[str, Any],
    proposed: dict[str, Any],
) -> None:
    run = scenery.make_run(dataset, base, state="failed", cause_code=code, cause=cause or "Why.", config=config)
    assert propose_changes(run) == proposed
    client.force_login(admin)
    page = client.get(reverse("run_detail", args=[run.pk])).content.decode()
    assert ("Clone with this change" in page) == bool(proposed)
    if proposed:
        link = page.partition("Worth a try")[2].partition('href="')[2].partition('"')[0].replace("&amp;", "&")
        form = client.get(link).content.decode()
        assert "Cloned from" in form and "Nothing is changed" not in form
