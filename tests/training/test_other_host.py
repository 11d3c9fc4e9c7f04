"""A run that goes on, and ends, on a machine that shares no disk with the one where it began: the real engine."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from annotate.exporting.shared import fetch_dataset
from models_registry import depot, leases, supervisor, tasks
from models_registry.models import ModelVersion
from models_registry.store import FolderStore, Store, StoreError, open_store, put_folder
from tests.tiny_models import make_tiny_policy
from training import checkpoints, services
from training.curve_levels import file_metrics
from training.models import Run

Launch = Callable[..., Run]
STEPS = 24
TINY: dict[str, float] = {
    "batch_size": 2,
    "gradient_accumulation": 1,
    "epochs": 4,
    "max_length": 128,
    "max_prompt_length": 64,
    "logging_steps": 1,
    "save_steps": 2,
    "learning_rate": 1e-3,
}


@pytest.fixture
def store(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store that is there, and workers that look often."""
    for room in ("annotate", "models_registry", "training"):
        import_module(f"{room}.tasks")
    settings.HEARTBEAT_SECONDS = 0.1
    monkeypatch.setattr(supervisor, "POLL_S", 0.05)
    monkeypatch.setattr(checkpoints, "LOOK_S", 0.05)
    monkeypatch.setattr(depot, "PAUSE_S", 0.05)
    (tmp_path / "store").mkdir()
    settings.STORE_URL = f"file://{tmp_path / 'store'}"
    found = open_store()
    assert found is not None
    return found


@pytest.fixture
def move(tmp_path: Path, settings: Any) -> Callable[[str], None]:
    """move("b"): from now on this process is another machine."""

    def move(host: str) -> None:
        settings.DATA_DIR = tmp_path / host
        settings.DATA_DIR.mkdir(exist_ok=True)

    return move


def share(store: Store, launch: Launch, base_model: ModelVersion) -> Run:
    """A run whose base and data are in the store."""
    make_tiny_policy(base_model.folder)
    run = launch(values=TINY)
    version = run.dataset_version
    for row, field in ((base_model, "facts"), (version, "counts")):
        digest, _manifest = put_folder(store, f"made/{field}", row.folder)
        getattr(row, field)["stored"] = {"key": f"made/{field}", "sha256": digest}
        row.save()
    return run


@pytest.mark.django_db(transaction=True)
def test_a_run_goes_on_where_another_machine_left_off(
    store: Store,
    move: Callable[[str], None],
    launch: Launch,
    base_model: ModelVersion,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    admin: Any,
    client: Client,
) -> None:
    run = share(store, launch, base_model)
    put = FolderStore.put
    refused: list[str] = []

    def put_later(self: FolderStore, key: str, source: Path) -> None:
        """The store is away for a while during the first attempt: training goes on."""
        if "checkpoints" in key and len(refused) < 3:
            refused.append(key)
            raise StoreError("away")
        put(self, key, source)

    def cancel(work: Run, lines: list[dict[str, Any]]) -> None:
        if any(line["step"] >= 7 for line in lines):
            leases.request_cancel(work)

    move("a")
    monkeypatch.setattr(FolderStore, "put", put_later)
    monkeypatch.setattr(services, "file_metrics", cancel)
    assert tasks.run_next("gpu")
    run.refresh_from_db()
    assert run.state == "cancelled", run.cause + run.log_tail
    assert len(refused) == 3
    newest = run.checkpoints[-1]
    assert (newest["epoch"], newest["step"]) == (1, run.step)  # saved when it was asked to stop, and stored
    assert len(run.checkpoints) <= checkpoints.KEPT

    shutil.rmtree(settings.DATA_DIR)  # the machine is gone
    move("b")
    monkeypatch.setattr(services, "file_metrics", file_metrics)
    services.retry_run(run=run, by=admin)
    assert tasks.run_next("gpu")
    run.refresh_from_db()
    assert (run.state, run.epoch) == ("finished", 2), run.cause + run.log_tail
    assert f"Taken up from step {newest['step']} of {STEPS}." in run.result["notes"]
    assert run.model is not None and run.checkpoints == []

    move("web")
    folder = depot.fetch_model(run.model)
    assert (folder / "model.safetensors").stat().st_size == run.model.facts["size_bytes"]
    fetch_dataset(run.dataset_version)
    assert run.dataset_version.eval_path.exists()
    client.force_login(admin)
    log = b"".join(client.get(f"/runs/{run.pk}/log.txt"))
    assert b"Taken up" in log
    kept = {key for key in store.list("runs") if "/model/" not in key}
    assert kept == {f"runs/{run.pk}/attempt-2/log.txt"}


def make_checkpoint(run: Run, step: int, store: Store) -> dict[str, Any]:
    folder = run.attempt_folder / "checkpoints" / f"step-{step:08d}"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(f'{{"step": {step}}}')
    key = depot.name_key(run, f"checkpoints/{folder.name}")
    return {"epoch": run.epoch, "step": step, "key": key, "sha256": put_folder(store, key, folder)[0]}


@pytest.mark.django_db
def test_the_newest_sound_checkpoint_that_the_row_names_is_taken(
    store: Store, move: Callable[[str], None], launch: Launch
) -> None:
    run = leases.claim(launch(), "a")
    assert run is not None
    leases.note(run, checkpoints=[make_checkpoint(run, step, store) for step in (10, 20)])
    unnamed = make_checkpoint(run, 30, store)  # by an owner that was fenced off before it could name it
    leases.requeue(run)
    run = leases.claim(run, "b")
    assert run is not None
    move("b")
    assert checkpoints.list_resumable(run) == [str(run.folder / "attempt-1")]
    assert checkpoints.list_checkpoints(run) == [(1, 20)] and store.exists(f"{unnamed['key']}/state.json")
    shutil.rmtree(run.folder)
    damaged = run.folder / "damaged"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{}")
    store.put(f"{run.checkpoints[-1]['key']}/state.json", damaged)
    assert checkpoints.list_resumable(run) == [str(run.folder / "attempt-1")]
    assert checkpoints.list_checkpoints(run) == [(1, 10)]


@pytest.mark.django_db
def test_a_fenced_off_owner_names_no_checkpoint(store: Store, launch: Launch) -> None:
    run = leases.claim(launch(), "a")
    assert run is not None
    folder = run.attempt_folder / "checkpoints" / "step-00000010"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"files": {}}')
    leases.requeue(run)
    assert leases.claim(run, "b") is not None
    with pytest.raises(leases.LeaseLost):
        checkpoints._Mirror(run, store).copy_newest()
    assert Run.objects.get(pk=run.pk).checkpoints == []


@pytest.mark.django_db
def test_a_torn_checkpoint_is_not_stored(store: Store, launch: Launch) -> None:
    run = leases.claim(launch(), "a")
    assert run is not None
    folder = run.attempt_folder / "checkpoints" / "step-00000010"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("torn")
    (folder / "manifest.json").write_text('{"files": {"state.json": {"sha256": "0", "size": 4}}}')
    checkpoints._Mirror(run, store).copy_newest()
    assert Run.objects.get(pk=run.pk).checkpoints == [] and store.list("runs") == []
