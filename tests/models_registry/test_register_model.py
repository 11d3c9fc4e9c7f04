"""Bringing base models in: who may be named, and a folder's way into the registry with the real program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from models_registry import leases, services, tasks
from models_registry.models import ModelImport, ModelVersion
from models_registry.services import RegisterError, add_demo_model, list_local_folders, register_model, retry_import
from tests.tiny_models import make_tiny_policy


@pytest.fixture
def shelf(tmp_path: Path, settings: Any) -> Path:
    """A folder of MODEL_ROOTS with one model in it, and one secret beside it."""
    shelf = tmp_path / "shelf"
    (shelf / "tiny").mkdir(parents=True)
    (shelf / "tiny" / "model.safetensors").touch()
    (shelf / "no model").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "model.safetensors").touch()
    settings.MODEL_ROOTS = [tmp_path / "not there", shelf]
    return shelf


def test_only_folders_with_weights_are_listed(shelf: Path) -> None:
    assert [(folder.ref, folder.path) for folder in list_local_folders()] == [("1/tiny", shelf / "tiny")]


@pytest.mark.parametrize("ref", ["", "1/no model", "1/../secret", "../secret", "/etc", "1/tiny/..", "0/tiny"])
def test_no_other_folder_can_be_named(shelf: Path, admin: User, ref: str) -> None:
    with pytest.raises(RegisterError) as caught:
        register_model(source="folder", ref=ref, name="x", by=admin)
    assert caught.value.field == "ref" and "1/tiny" in str(caught.value)
    assert not ModelVersion.objects.exists()


def test_folder_that_may_not_be_read_hides_no_other(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shelf.parent / "not there").mkdir()
    look = Path.iterdir

    def refuse(path: Path) -> Iterator[Path]:
        if path != shelf:
            raise PermissionError(13, "Permission denied")
        return look(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert [folder.ref for folder in list_local_folders()] == ["1/tiny"]


@pytest.mark.parametrize("ref", ["", "gpt2", "a/b/c", "../b", "a/..", "a/b--c", "a/b;rm", "https://x/y", "a/b\n"])
def test_hub_id_must_look_like_one(admin: User, ref: str) -> None:
    with pytest.raises(RegisterError) as caught:
        register_model(source="hub", ref=ref, name="x", by=admin)
    assert caught.value.field == "ref"


def test_name_comes_from_the_reference_and_is_unique(admin: User) -> None:
    model = register_model(source="hub", ref="organisation/Small-1B", name=" ", by=admin)
    assert (model.name, model.source_ref, model.is_ready) == ("Small-1B", "organisation/Small-1B", False)
    assert model.model_import.state == "queued"
    for name in ("Small-1B", "x" * 101, "right\u202eleft"):
        with pytest.raises(RegisterError) as caught:
            register_model(source="hub", ref="organisation/Small-1B", name=name, by=admin)
        assert caught.value.field == "name"
    with pytest.raises(RegisterError):
        register_model(source="run", ref="", name="x", by=admin)


def test_demo_model_is_added_once(admin: User) -> None:
    assert add_demo_model(by=admin) == add_demo_model(by=admin)
    assert ModelImport.objects.count() == 1


def test_folder_becomes_a_ready_model(shelf: Path, admin: User, settings: Any) -> None:
    settings.HEARTBEAT_SECONDS = 0.2
    make_tiny_policy(shelf / "tiny")
    (shelf / "tiny" / "run_me.py").write_text("print('no')")
    model = register_model(source="folder", ref="1/tiny", name="A tiny one", by=admin)
    assert tasks.run_next("gpu")
    model.refresh_from_db()
    work = model.model_import
    assert work.state == "finished", work.cause + work.log_tail
    assert model.is_ready
    assert (model.kind, model.facts["architecture"]) == ("policy", "LlamaForCausalLM")
    assert (model.folder / "model.safetensors").stat().st_size > 1000
    assert not (model.folder / "run_me.py").exists()
    assert not work.folder.exists()


def test_folder_that_is_no_model_fails_in_words_and_can_be_retried(shelf: Path, admin: User, settings: Any) -> None:
    settings.HEARTBEAT_SECONDS = 0.2
    model = register_model(source="folder", ref="1/tiny", name="Broken", by=admin)
    assert tasks.run_next("gpu")
    work = model.model_import
    work.refresh_from_db()
    assert work.state == "failed"
    assert work.cause_code
    assert work.cause
    assert not model.is_ready
    retry_import(model_import=work)
    work.refresh_from_db()
    assert work.state == "queued"


def test_folder_that_went_away_fails_in_words(shelf: Path, admin: User) -> None:
    model = register_model(source="folder", ref="1/tiny", name="Gone", by=admin)
    (shelf / "tiny" / "model.safetensors").unlink()
    assert tasks.run_next("gpu")
    work = model.model_import
    work.refresh_from_db()
    assert (work.state, work.cause_code) == ("failed", "not_found")


def test_leftover_of_a_failed_transaction_is_replaced(admin: User, data_dir: Path) -> None:
    model = ModelVersion.objects.create(name="m", source="demo", created_by=admin)
    model.folder.mkdir(parents=True)
    (model.folder / "old").touch()
    made = data_dir / "made"
    made.mkdir()
    (made / "new").touch()
    services.place_model(model, made, {"kind": "reward", "licence": "mit"})
    model.refresh_from_db()
    assert (model.kind, model.licence, model.is_ready) == ("reward", "mit", True)
    assert [path.name for path in model.folder.iterdir()] == ["new"]


def test_cancelled_import_is_not_started(admin: User) -> None:
    work = add_demo_model(by=admin).model_import
    services.cancel_import(model_import=work)
    assert leases.claim(work, "host:1") is None
