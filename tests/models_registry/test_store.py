"""Folder and S3 keep one promise: what was put whole can be fetched, checked; half of it, or another thing, cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from config.doctor import check_store
from config.startup import read_store
from models_registry import depot, leases
from models_registry.models import ModelImport, ModelVersion
from models_registry.services import place_model
from models_registry.store import (
    MANIFEST,
    DamagedError,
    NotStored,
    Store,
    StoreError,
    get_file,
    get_folder,
    open_store,
    put_folder,
    remove_folder,
)
from tests.e2e.house import find_free_port
from tests.s3_server import BUCKET, run_s3
from tests.scenery import make_model

KEYS = {"region": "us-east-1", "access_key_id": "key", "secret_access_key": "secret"}


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with run_s3() as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, settings: Any) -> Store:
    """The house's store, empty."""
    if request.param == "folder":
        (tmp_path / "store").mkdir()
        settings.STORE_URL = f"file://{tmp_path / 'store'}"
    else:
        settings.STORE_URL = f"s3://{BUCKET}/{tmp_path.name}"
        settings.STORE_S3 = {"endpoint": request.getfixturevalue("s3"), **KEYS}
    found = open_store()
    assert found is not None
    return found


def fill(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def put_text(store: Store, key: str, text: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text(text)
    store.put(key, source)


def test_files_come_back_and_go(store: Store, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 80_000)  # in several parts
    store.put("runs/7/model", large)
    put_text(store, "runs/71/log.txt", "a line", tmp_path)
    put_text(store, "runs/71/log.txt", "another line", tmp_path)
    assert store.list() == ["runs/7/model", "runs/71/log.txt"]
    assert store.list("runs/7") == ["runs/7/model"]  # a folder, not the beginning of a name
    get_file(store, "runs/7/model", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    get_file(store, "runs/71/log.txt", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "another line"
    store.delete("runs/7/model")
    store.delete("runs/7/model")
    assert not store.exists("runs/7/model") and store.exists("runs/71/log.txt")
    with pytest.raises(NotStored):
        get_file(store, "runs/7/model", tmp_path / "gone")
    assert {path.name for path in tmp_path.iterdir()} <= {"large", "source", "back", "store"}  # nothing half written


def test_a_folder_is_there_once_its_manifest_is(store: Store, tmp_path: Path) -> None:
    source, target = fill(tmp_path / "a", one="1", two="2"), tmp_path / "b"

    def break_off() -> None:
        if store.exists("k/one"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # as a kill between two files
        put_folder(store, "k", source, between=break_off)
    with pytest.raises(NotStored):
        get_folder(store, "k", target)
    digest, manifest = put_folder(store, "k", source)
    assert get_folder(store, "k", target, digest) == manifest
    assert {path.name: path.read_text() for path in target.iterdir()} == {"one": "1", "two": "2"}
    remove_folder(store, "k")
    assert store.list() == []


def test_what_differs_from_what_was_put_is_refused(store: Store, tmp_path: Path) -> None:
    digest, _manifest = put_folder(store, "k", fill(tmp_path / "a", one="1", two="2"))
    put_text(store, "k/two", "3", tmp_path)
    with pytest.raises(DamagedError, match="two is not what was stored"):
        get_folder(store, "k", tmp_path / "b", digest)
    put_folder(store, "k", fill(tmp_path / "c", one="other"))  # whole in itself, but not what the row names
    with pytest.raises(DamagedError, match="not the one that was stored"):
        get_folder(store, "k", tmp_path / "b", digest)
    put_text(store, f"k/{MANIFEST}", json.dumps({"../two": {}}), tmp_path)
    with pytest.raises(DamagedError, match="cannot be read"):
        get_folder(store, "k", tmp_path / "b")
    assert not (tmp_path / "b").exists() and not list(tmp_path.glob(".b.*"))


@pytest.mark.django_db
def test_a_model_made_on_one_host_is_fetched_on_another(
    store: Store, claimed: ModelImport, tmp_path: Path, settings: Any
) -> None:
    settings.DATA_DIR = tmp_path / "first"
    fill(claimed.attempt_folder / "model", **{"model.safetensors": "weights", "config.json": "{}"})
    with leases.keep_alive(claimed) as still_mine:
        stored = depot.deposit(claimed, "model", claimed.attempt_folder / "model", still_mine)
    place_model(claimed.model, claimed.attempt_folder / "model", {"kind": "policy"} | stored)
    model = ModelVersion.objects.get(pk=claimed.model.pk)
    settings.DATA_DIR = tmp_path / "second"
    assert (depot.fetch_model(model) / "model.safetensors").read_text() == "weights"
    settings.STORE_URL = ""
    settings.DATA_DIR = tmp_path / "third"
    assert not depot.fetch_model(model).exists()  # without a store nothing is copied


@pytest.mark.django_db(transaction=True)
def test_finished_work_waits_for_a_store_that_is_away_and_fails_in_words(
    claimed: ModelImport, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depot, "PAUSE_S", 0.05)
    settings.STORE_URL = f"file://{tmp_path / 'mount'}"
    source = fill(tmp_path / "model", one="1")

    def come_back() -> None:  # asked after the first failure
        claimed.refresh_from_db(fields=["message"])
        if claimed.message == depot.AWAY:
            (tmp_path / "mount").mkdir(exist_ok=True)

    assert depot.deposit(claimed, "model", source, come_back)["stored"]["key"].endswith("attempt-1/model")
    (tmp_path / "mount").rename(tmp_path / "unmounted")
    monkeypatch.setattr(depot, "PATIENCE_S", 0.2)
    with pytest.raises(leases.WorkFailed, match="Is it mounted") as failed:
        depot.deposit(claimed, "model", source, lambda: None)
    assert failed.value.code == "store_away"


@pytest.mark.django_db
def test_a_fenced_off_owner_names_nothing(store: Store, claimed: ModelImport, tmp_path: Path) -> None:
    leases.requeue(claimed)
    successor = leases.claim(claimed, "another worker")
    assert successor is not None
    stored = depot.deposit(claimed, "model", fill(tmp_path / "old", one="old"), lambda: None)["stored"]
    with pytest.raises(leases.LeaseLost):
        leases.finish(claimed)
    assert stored["key"] != depot.name_key(successor, "model")  # beside the successor's, never over it


@pytest.mark.django_db
def test_doctor_and_probe(store: Store, tmp_path: Path, settings: Any, client: Client) -> None:
    (finding,) = check_store()
    assert finding.verdict == "ok" and store.list() == []
    assert client.get("/readyz").json() == {"status": "ready"}
    if settings.STORE_URL.startswith("file"):
        settings.STORE_URL += "/gone"
    else:
        settings.STORE_S3 = KEYS | {"endpoint": f"http://127.0.0.1:{find_free_port()}"}
    (finding,) = check_store()
    assert finding.verdict == "failure" and "secret" not in finding.text
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "away": ["object store"]})


@pytest.mark.django_db
def test_a_house_that_gets_a_store_fills_it(store: Store, admin: User, tmp_path: Path, settings: Any) -> None:
    model = make_model(admin)
    fill(model.folder, **{"model.safetensors": "weights"})
    printed = StringIO()
    call_command("fill_store", stdout=printed)
    call_command("fill_store", stdout=printed)
    assert printed.getvalue().splitlines()[-2:] == ["1 stored.", "0 stored."]
    model.refresh_from_db()
    settings.DATA_DIR = tmp_path / "another host"
    assert (depot.fetch_model(model) / "model.safetensors").read_text() == "weights"
    settings.STORE_URL = ""
    with pytest.raises(CommandError, match="STORE_URL"):
        call_command("fill_store")


@pytest.mark.parametrize("url", ["", "file:///mnt/store", "s3://house", "s3://my.bucket/plumb/line"])
def test_addresses(url: str) -> None:
    assert read_store("STORE_URL", url) == url


@pytest.mark.parametrize("url", ["/mnt/store", "file://mnt/store", "s3://", "s3://UPPER", "s3://house/a b", "http://x"])
def test_no_addresses(url: str) -> None:
    with pytest.raises(SystemExit, match="STORE_URL is neither"):
        read_store("STORE_URL", url)


def test_a_house_without_s3_does_not_load_its_client() -> None:
    code = "import django; django.setup(); import config.urls, sys; print('obstore' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"


def test_without_the_client_the_reason_is_said(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    settings.STORE_URL = "s3://never-opened"
    with pytest.raises(StoreError, match="obstore is not installed"):
        open_store()
