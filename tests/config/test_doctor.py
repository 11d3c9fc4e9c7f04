"""The doctor finds what is broken, for real where that can be done, and the probe of load balancers follows it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from config.celery import app
from config.doctor import Finding, check_broker, check_gpus, examine, find_hindrance


def find(subject: str) -> list[Finding]:
    return [finding for finding in examine() if finding.subject == subject]


@pytest.mark.django_db
def test_a_sound_machine_has_no_failure(capsys: pytest.CaptureFixture[str], client: Client) -> None:
    call_command("doctor", "--json")
    findings = json.loads(capsys.readouterr().out)
    assert {"database", "migrations", "data folder", "broker", "torch", "GPU"} <= {row["subject"] for row in findings}
    assert all(row["verdict"] != "failure" for row in findings)
    assert client.get("/readyz").json() == {"status": "ready"}


@pytest.mark.django_db
def test_a_migration_that_waits_is_named_and_nothing_is_ready(
    capsys: pytest.CaptureFixture[str], client: Client
) -> None:
    MigrationRecorder(connection).migration_qs.filter(app="annotate").last().delete()  # type: ignore[union-attr]
    with pytest.raises(SystemExit) as ended:
        call_command("doctor")
    assert ended.value.code == 1
    assert "FAILURE  migrations    1 are not applied (annotate 00" in capsys.readouterr().out
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready", "subject": "migrations"})


@pytest.mark.django_db
def test_a_folder_that_takes_no_writing(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings.DATA_DIR = tmp_path / "file" / "gone"  # under a file nothing can be made, by whomever
    (broken,) = find("data folder")
    assert (broken.verdict, find_hindrance()) == ("failure", broken)
    settings.DATA_DIR = tmp_path
    assert find("data folder")[0].verdict != "failure"
    assert not list(tmp_path.glob(".probe*"))  # it is taken away


@pytest.mark.django_db
@pytest.mark.parametrize(("free", "verdict"), [(20 << 30, "ok"), (2 << 30, "warning"), (1 << 20, "failure")])
def test_little_room(free: int, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage._replace(free=free))
    assert find("data folder")[0].verdict == verdict


def test_a_broker_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(app.conf, "broker_write_url", f"amqp://guest:secret@127.0.0.1:{port}//")
    (finding,) = check_broker()
    assert finding.verdict == "failure" and "refused" in finding.text and "secret" not in finding.text


@pytest.mark.django_db
def test_dangerous_settings(settings: Any) -> None:
    settings.SECRET_KEY, settings.DEBUG, settings.ALLOWED_HOSTS, settings.SECURE = "short", True, ["*"], False
    verdicts = {finding.subject: finding.verdict for finding in examine()}
    assert verdicts["SECRET_KEY"] == "failure"
    assert verdicts["DEBUG"] == verdicts["ALLOWED_HOSTS"] == verdicts["SECURE"] == "warning"


@pytest.mark.parametrize(
    ("script", "verdict", "text"),
    [
        ("echo 'NVIDIA H200, 143771 MiB, 575.51'", "ok", "NVIDIA H200, 143771 MiB, 575.51"),
        ("exit 9", "warning", "nvidia-smi does not work"),
    ],
)
def test_gpus_are_those_of_the_driver(
    script: str, verdict: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (finding,) = check_gpus()
    assert finding.verdict == verdict and text in finding.text
