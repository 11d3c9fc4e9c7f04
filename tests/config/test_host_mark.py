"""The broker of files serves one host: a second one is refused in words, a successor is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from config.broker import build_files_options, register_files_broker
from config.host_mark import RENEW_S, STALE_S, Host, HostMark, SecondHostError
from tests.e2e.house import find_free_port

OURS, OTHER = Host("atelier", "kernel-1"), Host("cellar", "kernel-2")


def test_a_second_host_is_refused_with_what_to_do(tmp_path: Path) -> None:
    HostMark(tmp_path, OURS).claim()
    with pytest.raises(SecondHostError, match=r"another host, atelier, .* set CELERY_BROKER_URL to Redis or RabbitMQ"):
        HostMark(tmp_path, OTHER).claim()
    HostMark(tmp_path, OURS).claim()


@pytest.mark.parametrize(
    "same", [Host("atelier", "kernel-3"), Host("container-7", "kernel-1")], ids=["after a restart", "in a container"]
)
def test_the_same_machine_under_another_number_or_name_is_no_second_host(tmp_path: Path, same: Host) -> None:
    HostMark(tmp_path, OURS).claim()
    HostMark(tmp_path, same).claim()
    HostMark(tmp_path, same).claim()


def test_who_has_left_or_fallen_silent_is_succeeded(tmp_path: Path) -> None:
    first, second = HostMark(tmp_path, OURS), HostMark(tmp_path, OTHER)
    first.claim()
    first.drop()
    second.claim()
    first.drop()  # not its own any more
    with pytest.raises(SecondHostError):
        first.claim()
    grow_old(tmp_path)
    first.claim()
    with pytest.raises(SecondHostError):
        second.claim()


def test_a_worker_renews_its_mark_and_notices_a_successor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark, later = HostMark(tmp_path, OURS), time.monotonic() + RENEW_S + 1
    mark.claim()
    grow_old(tmp_path)
    mark.renew()  # too soon to do anything
    assert is_old(tmp_path)
    monkeypatch.setattr("config.host_mark.time.monotonic", lambda: later)
    mark.renew()
    assert not is_old(tmp_path)
    grow_old(tmp_path)
    HostMark(tmp_path, OTHER).claim()
    monkeypatch.setattr("config.host_mark.time.monotonic", lambda: later + RENEW_S + 1)
    with pytest.raises(SecondHostError):
        mark.renew()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "atelier"}'])
def test_a_torn_mark_counts_for_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "host.json").write_text(content, encoding="utf-8")
    HostMark(tmp_path, OURS).claim()
    assert json.loads((tmp_path / "host.json").read_text(encoding="utf-8")) == {"name": "atelier", "kernel": "kernel-1"}


def test_a_connection_is_refused_to_a_second_host(tmp_path: Path) -> None:
    register_files_broker()
    options = build_files_options(tmp_path)
    HostMark(tmp_path / "broker", OTHER).claim()
    with (
        Connection("files://", transport_options=options) as connection,
        pytest.raises(SecondHostError, match="cellar"),
    ):
        connection.ensure_connection(max_retries=1)


@pytest.mark.parametrize(
    "command",
    [["-m", "celery", "-A", "config", "-q", "worker", "-Q", "short", "-c", "1"], ["manage.py", "serve", "--no-demo"]],
    ids=["worker", "serve"],
)
def test_nothing_starts_on_a_second_host(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "broker").mkdir()
    HostMark(tmp_path / "broker", OTHER).claim()
    unset: dict[str, Any] = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env = unset | {"DATA_DIR": str(tmp_path), "PORT": str(find_free_port()), "OMP_NUM_THREADS": "1"}
    answer = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 1
    assert "another host, cellar," in answer.stderr and "Traceback" not in answer.stderr


def grow_old(folder: Path) -> None:
    past = time.time() - STALE_S - 1
    os.utime(folder / "host.json", (past, past))


def is_old(folder: Path) -> bool:
    return time.time() - (folder / "host.json").stat().st_mtime > STALE_S
