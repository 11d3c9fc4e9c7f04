"""What a run needs: a ready base, a frozen dataset with real files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from annotate.models import DatasetVersion, Project
from models_registry.models import ModelVersion, WorkState
from tests.scenery import make_dataset, make_model
from training.models import Run
from training.services import launch_run

GOOD = ["You need flour, water, salt and yeast.", "The capital of France is Paris.", "Of course, here is how."]
BAD = ["I do not know.", "No.", "Ask me something else, please, I am busy."]


def write_pairs(path: Path, count: int) -> str:
    """Pairs as an export writes them; gives the file's SHA-256."""
    rows = [
        {
            "prompt": [{"role": "user", "content": f"Question {number}: how do I bake bread?"}],
            "chosen": [{"role": "assistant", "content": GOOD[number % 3]}],
            "rejected": [{"role": "assistant", "content": BAD[number % 3]}],
            "grade": "slightly",
        }
        for number in range(count)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def dataset_version(project: Project, admin: User, tmp_path: Path, settings: Any) -> DatasetVersion:
    """Twelve training pairs and four held-out ones, in files below this test's own DATA_DIR."""
    settings.DATA_DIR = tmp_path
    version = DatasetVersion.objects.create(
        project=project,
        number=1,
        rule={},
        judgment_cutoff=0,
        state=WorkState.FINISHED,
        train_rows=12,
        eval_rows=4,
        created_by=admin,
        finished_at=timezone.now(),
    )
    version.train_sha256 = write_pairs(version.train_path, 12)
    version.eval_sha256 = write_pairs(version.eval_path, 4)
    version.save()
    return version


@pytest.fixture
def base_model(admin: User) -> ModelVersion:
    return make_model(admin, "tiny base")


@pytest.fixture
def base(admin: User) -> ModelVersion:
    """For pages: a model under the name people know."""
    return make_model(admin)


@pytest.fixture
def dataset(project: Project) -> DatasetVersion:
    """For pages: a frozen version without files."""
    return make_dataset(project)


@pytest.fixture
def launch(dataset_version: DatasetVersion, base_model: ModelVersion, admin: User) -> Callable[..., Run]:
    """launch(method="dpo", values={...}): with everything else as it should be."""

    def launch(**changed: Any) -> Run:
        usual: dict[str, Any] = {
            "dataset_version": dataset_version,
            "base_model": base_model,
            "method": "dpo",
            "values": {},
            "name": "first run",
            "by": admin,
        }
        return launch_run(**(usual | changed))

    return launch
