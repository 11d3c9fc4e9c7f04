"""compose.yaml and Dockerfile against the code: commands, variables, queues, secrets. No image is built here."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command, get_commands
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from config.metrics import QUEUES
from models_registry.workers import beat
from tests.config.test_settings_table import find_read
from tests.e2e.house import find_free_port

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if str(service["image"]).startswith("plumbline:")}
SECRETS = {
    "POSTGRES_PASSWORD": "a1b2c3d4e5f6",
    "REDIS_PASSWORD": "f6e5d4c3b2a1",
    "ALLOWED_HOSTS": "plumbline.example.org",
}


def fill_in(text: str, values: dict[str, str]) -> str:
    """As compose does: ${NAME:-default}, ${NAME:?message}, and $$ for one $."""

    def replace(found: re.Match[str]) -> str:
        name, sign, rest = found.groups()
        if name in values:
            return values[name]
        assert sign == ":-", f"{name} is wanted: {rest}"
        return str(rest)

    return re.sub(r"\$\{(\w+)(:[-?])([^}]*)\}", replace, text).replace("$$", "$")


def list_programs() -> Iterator[list[str]]:
    """Every argument list that a container of ours starts, health checks included."""
    found = re.search(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)
    assert found
    yield list(yaml.safe_load(found[1]))
    for service in OURS.values():
        words = shlex.split(service.get("command", ""))
        for part in words[2].split(" && ") if words[:2] == ["sh", "-c"] else filter(None, [service.get("command")]):
            yield shlex.split(part)
        if check := service.get("healthcheck"):
            assert check["test"][0] == "CMD"
            yield check["test"][1:]


def test_every_program_is_there() -> None:
    programs = list(list_programs())
    assert len(programs) >= 8
    for python, kind, *rest in programs:
        assert python == "python"
        if kind == "manage.py":
            assert rest[0] in get_commands(), rest
        elif kind == "-m":
            assert importlib.util.find_spec(rest[0]), rest
        else:
            assert kind == "-P" and (ROOT / rest[0]).is_file()


def test_every_queue_has_a_worker() -> None:
    served = {words[words.index("-Q") + 1] for words in list_programs() if "-Q" in words}
    assert served == set(QUEUES)


def test_variables_are_settings_and_nothing_more() -> None:
    for name, service in OURS.items():
        assert set(service["environment"]) <= find_read(), name
    (line,) = re.findall(r"^ENV (.*)$", DOCKERFILE, re.MULTILINE)
    named = {pair.partition("=")[0] for pair in line.split()}
    assert named <= find_read() | {"PYTHONUNBUFFERED", "HOME"}


def test_the_house_starts_with_these_variables(tmp_path: Path) -> None:
    variables = {name: fill_in(str(text), SECRETS) for name, text in OURS["web"]["environment"].items()}
    assert variables["DATABASE_URL"] == "postgres://plumbline:a1b2c3d4e5f6@postgres/plumbline"
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    argv = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    env = kept | variables | {"DATA_DIR": str(tmp_path)}
    ended = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


def test_no_secret_has_a_default() -> None:
    for path in ("compose.yaml", "Dockerfile"):
        for name, sign, rest in re.findall(r"\$\{(\w+)(:[-?]|)([^}]*)\}", (ROOT / path).read_text()):
            if re.search(r"PASSWORD|TOKEN|SECRET|KEY", name):
                assert sign == ":?" or (sign, rest) == (":-", ""), name
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert "PASSWORD" not in name or str(value).startswith("${"), name
    with pytest.raises(AssertionError, match="POSTGRES_PASSWORD is wanted"):
        fill_in(OURS["web"]["environment"]["DATABASE_URL"], {})


def test_nobody_is_root_and_nothing_is_open_to_the_network() -> None:
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    for name, service in OURS.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["init"], name
        assert "user" not in service and "privileged" not in service
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_what_lasts_lies_on_volumes_and_what_others_wait_for_is_checked() -> None:
    for name, service in SERVICES.items():
        assert {volume.partition(":")[0] for volume in service.get("volumes", [])} <= set(COMPOSE["volumes"])
        assert "healthcheck" in service or name == "prepare"
        for other, wanted in service.get("depends_on", {}).items():
            healthy = wanted["condition"] == "service_healthy"
            assert "healthcheck" in SERVICES[other] if healthy else SERVICES[other]["restart"] == "no"


def probe(port: int) -> int:
    argv = [sys.executable, "-P", "config/probe.py"]
    return subprocess.run(argv, env=os.environ | {"PORT": str(port)}, cwd=ROOT, timeout=60, check=False).returncode


def test_the_probe_tells_a_server_from_none(live_server: LiveServer, transactional_db: None) -> None:
    assert probe(int(live_server.url.rpartition(":")[2])) == 0
    assert probe(find_free_port()) == 1


@pytest.mark.django_db
def test_a_server_behind_tls_answers_the_probe(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT, settings.SECURE_PROXY_SSL_HEADER = True, ("HTTP_X_FORWARDED_PROTO", "https")
    assert Client().get("/readyz").status_code == 301
    assert Client().get("/readyz", headers={"X-Forwarded-Proto": "https"}).status_code == 200


@pytest.mark.django_db
def test_a_worker_of_this_host(capsys: pytest.CaptureFixture[str]) -> None:
    beat("gpu@elsewhere", ["gpu"])
    with pytest.raises(CommandError, match="No worker of"):
        call_command("worker_alive")
    beat(f"gpu@{socket.gethostname()}", ["gpu"])
    call_command("worker_alive")
    assert capsys.readouterr().out == f"gpu@{socket.gethostname()}\n"
