"""A model goes to the shelf as any tool of the hub's world would look for it, and comes back through every check."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import DatasetVersion
from models_registry import depot, hub, tasks
from models_registry.inference.model_files import read_licence, read_model_facts
from models_registry.models import ModelVersion
from models_registry.services import register_model
from tests.scenery import finish_run, make_model, make_run
from tests.tiny_models import make_tiny_policy
from training.models import ModelPush

SignIn = Callable[[User], Client]


@pytest.fixture
def shelf(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    for room in ("annotate", "models_registry", "training"):
        import_module(f"{room}.tasks")
    settings.HEARTBEAT_SECONDS = 0.1
    monkeypatch.setattr(depot, "PAUSE_S", 0.02)
    settings.DATA_DIR = tmp_path / "data"
    (tmp_path / "shelf").mkdir()
    settings.HUB_URL = f"file://{tmp_path / 'shelf'}"
    return tmp_path / "shelf"


@pytest.mark.django_db(transaction=True)
def test_a_pushed_model_is_a_hub_folder_and_can_be_pulled(
    shelf: Path, sign_in: SignIn, admin: User, api: Callable[[User], APIClient], dataset: DatasetVersion
) -> None:
    base = make_model(admin, "Base [of] <b>all</b>")
    model = finish_run(make_run(dataset, base, "dpo", state="running"))
    make_tiny_policy(model.folder)
    (model.folder / "README.md").write_text("---\nlicense: mit\n---\n# Its own card\n")
    facts = read_model_facts(model.folder)
    ModelVersion.objects.filter(pk=model.pk).update(facts=facts, licence="apache-2.0")
    browser = sign_in(admin)
    for _click in range(2):  # a double click is one push
        assert browser.post(reverse("model_push", args=[model.pk])).status_code == 302
    assert tasks.run_next("short") and not tasks.run_next("short")
    push = ModelPush.objects.get()
    assert push.state == "finished", push.cause

    folder = shelf / hub.name_folder(model)
    assert push.result["url"] == f"file://{folder}"
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= push.result["files"].keys()
    assert push.result["files"]["model.safetensors"]["sha256"] == facts["sha256"]["model.safetensors"]
    card = (folder / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["license"], front["pipeline_tag"]) == ("apache-2.0", "text-generation")
    assert front["model-index"][0]["results"][0]["metrics"][0]["value"] == model.metrics["eval"]["accuracy"]
    assert read_licence(folder) == "apache-2.0"
    assert "Base \\[of\\] &lt;b&gt;all&lt;/b&gt;" in card and "### Its own card" in card
    assert facts["sha256"]["model.safetensors"] in card and str(dataset) in card
    page = browser.get(reverse("model_detail", args=[model.pk])).content.decode()
    assert push.result["url"] in page and facts["sha256"]["model.safetensors"] in page
    assert api(admin).get(f"/api/v1/models/{model.pk}/pushes/").json()[0]["result"] == push.result

    assert api(admin).get("/api/v1/models/pushed/").json()["folders"] == [folder.name]
    asked = {"source": "pull", "ref": folder.name, "name": "pulled"}
    assert api(admin).post("/api/v1/models/", asked).status_code == 202
    assert tasks.run_next("gpu")
    pulled = ModelVersion.objects.get(name="pulled")
    assert pulled.is_ready, pulled.model_import.cause
    assert pulled.facts["sha256"] == facts["sha256"] and pulled.licence == "apache-2.0"
    assert pulled.facts["origin"] == {"name": folder.name, "url": push.result["url"]}

    (folder / "model.safetensors").write_bytes(b"another")
    damaged = register_model(source="pull", ref=folder.name, name="damaged", by=admin)
    assert tasks.run_next("gpu")
    damaged.model_import.refresh_from_db()
    assert (damaged.model_import.state, damaged.model_import.cause_code) == ("failed", "not_stored")


@pytest.mark.django_db(transaction=True)
def test_a_folder_that_other_tools_saved_is_checked_like_any_other(shelf: Path, admin: User, sign_in: SignIn) -> None:
    folder = shelf / "theirs"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "evil.py"}}))
    (folder / "evil.py").write_text("raise SystemExit")
    (folder / "model.safetensors").write_bytes(b"")
    (shelf / "no model").mkdir()
    browser = sign_in(admin)
    form = {"source": "pull", "pull-ref": "../theirs"}
    assert browser.post(reverse("model_add"), form).status_code == 422
    assert not ModelVersion.objects.exists()
    assert browser.post(reverse("model_add"), form | {"pull-ref": "theirs"}).status_code == 302
    assert tasks.run_next("gpu")
    model = ModelVersion.objects.get()
    assert (model.model_import.state, model.model_import.cause_code) == ("failed", "remote_code")
    assert not list(model.model_import.folder.glob("pulled-*/evil.py"))


@pytest.mark.django_db(transaction=True)
def test_by_commands_and_in_the_house_s_own_folder(shelf: Path, admin: User, settings: Any) -> None:
    settings.HUB_URL = ""
    model = make_model(admin, "모델")
    with pytest.raises(CommandError, match="There is no model folder"):
        call_command("push_model", str(model.pk))
    model.folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "training.py"):
        (model.folder / name).write_text("{}")
    printed = StringIO()
    call_command("push_model", str(model.pk), stdout=printed)
    call_command("pull_model", stdout=printed)
    assert printed.getvalue().splitlines()[-1] == f"model-{model.pk}"
    assert "training.py" not in printed.getvalue()
    assert (settings.DATA_DIR / "hub" / f"model-{model.pk}" / "README.md").exists()
    with pytest.raises(CommandError, match="none of the listed folders"):
        call_command("pull_model", "another")
    call_command("pull_model", f"model-{model.pk}", name="again", stdout=printed)
    assert ModelVersion.objects.get(name="again").source == "pull"
    assert api_refuses(model)


def api_refuses(model: ModelVersion) -> bool:
    """A model without files cannot be pushed."""
    ModelVersion.objects.filter(pk=model.pk).update(ready_at=None)
    with pytest.raises(CommandError, match="not ready yet"):
        call_command("push_model", str(model.pk))
    return True
