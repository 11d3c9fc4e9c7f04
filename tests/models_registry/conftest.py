"""Work to lease: a model import, and the programs that stand in for real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from models_registry import leases
from models_registry.models import ModelImport, ModelSource, ModelVersion
from models_registry.slots import Slot
from models_registry.supervisor import ProgramJob, Supervisor

PROGRAMS = ["-m", "tests.models_registry.programs"]

MakeWork = Callable[..., ModelImport]


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, settings: Any) -> Path:
    """Rows' folders are named by number alone; tests that run side by side must not share them."""
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.fixture
def make_work(admin: User) -> MakeWork:
    """A queued import: make_work(state="failed")."""

    def make_work(**fields: Any) -> ModelImport:
        name = f"model {ModelVersion.objects.count() + 1}"
        model = ModelVersion.objects.create(name=name, source=ModelSource.DEMO, created_by=admin)
        return ModelImport.objects.create(model=model, created_by=admin, **fields)

    return make_work


@pytest.fixture
def claimed(make_work: MakeWork) -> ModelImport:
    work = leases.claim(make_work(), "a worker")
    assert work is not None
    return work


@pytest.fixture
def fast(settings: Any) -> None:
    """Beats of a tenth of a second instead of ten."""
    settings.LEASE_SECONDS = 6
    settings.HEARTBEAT_SECONDS = 0.1


@pytest.fixture
def supervise(fast: None, claimed: ModelImport) -> Callable[..., dict[str, Any]]:
    """Runs a test program under ``claimed``: supervise("finish", steps=3, on_metrics=...)."""

    def supervise(mode: str, **options: Any) -> dict[str, Any]:
        job_options = {
            key: options.pop(key) for key in ("on_metrics", "find_progress", "on_usage", "online") if key in options
        }
        job = ProgramJob(PROGRAMS, {"mode": mode, **options}, **job_options)
        return Supervisor(claimed, Slot("")).run(job, claimed.attempt_folder)

    return supervise
