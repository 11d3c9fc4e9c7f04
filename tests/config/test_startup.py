"""What a person gets wrong in the environment is said in words, before anything starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config.demo import DemoAccount
from config.management.commands.serve import _greeting
from config.startup import read_switch


def start(**environment: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "manage.py", "check"]
    env = {**os.environ, **environment}
    env.pop("PYTEST_CURRENT_TEST", None)
    return subprocess.run(argv, env=env, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=60)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "abc", "PORT=abc is no whole number from 1 to 65535."),
        ("PORT", "70000", "PORT=70000 is no whole number from 1 to 65535."),
        ("PORT", "-1", "PORT=-1 is no whole number from 1 to 65535."),
        ("WEB_WORKERS", "many", "WEB_WORKERS=many is no whole number from 1 to 256."),
        ("TRUSTED_PROXIES", "-1", "TRUSTED_PROXIES=-1 is no whole number from 0 to 20."),
        ("LEASE_SECONDS", "", "LEASE_SECONDS= is no whole number from 2 to 3600."),
        ("SECURE", "ture", "SECURE=ture is neither 0 nor 1."),
        ("DEBUG", "2", "DEBUG=2 is neither 0 nor 1."),
        ("TIME_ZONE", "Seoul", "TIME_ZONE=Seoul is no time zone such as UTC or Asia/Seoul."),
        ("LOG_FORMAT", "xml", "LOG_FORMAT=xml is none of text, json."),
        ("METRICS_TOKEN", "short", "METRICS_TOKEN is shorter than 20 characters and could be guessed."),
        ("SECRET_KEY", "changeme", "SECRET_KEY is shorter than 50 characters; leave it out to get a good one."),
        ("DATABASE_URL", "mysql://root:secret@h/n", "DATABASE_URL must begin with one of sqlite://, postgres://, "),
        ("DATABASE_URL", "postgres://root:secret@h:port/n", "DATABASE_URL is no address: its port or host cannot"),
        ("CELERY_BROKER_URL", "localhost:6379", "CELERY_BROKER_URL must begin with one of files://, redis://, "),
        ("CSRF_TRUSTED_ORIGINS", "a.example.org", "CSRF_TRUSTED_ORIGINS: a.example.org is no origin such as https://"),
    ],
)
def test_a_value_that_makes_no_sense(name: str, value: str, sentence: str, tmp_path: Path) -> None:
    """One sentence that names the variable, and no secret."""
    ended = start(**{"DATA_DIR": str(tmp_path), name: value})
    assert ended.returncode == 1
    assert ended.stderr.startswith(sentence) and ended.stderr.count("\n") == 1 and "secret" not in ended.stderr


@pytest.mark.parametrize(("text", "value"), [("1", True), ("True", True), ("no", False), ("0", False), ("", False)])
def test_switches(text: str, value: bool) -> None:
    assert read_switch("SECURE", text) is value


def test_a_data_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        ended = start(DATA_DIR=str(folder))
        assert ended.returncode == 1
        assert ended.stderr.startswith(f"DATA_DIR={folder} cannot be used: ") and ended.stderr.count("\n") == 1


def test_a_secret_key_that_is_too_short(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("changeme")
    ended = start(DATA_DIR=str(tmp_path))
    assert ended.returncode == 1 and "shorter than 50 characters" in ended.stderr


def test_a_good_start(tmp_path: Path) -> None:
    assert start(DATA_DIR=str(tmp_path / "new")).returncode == 0
    assert (tmp_path / "new" / "secret_key").stat().st_mode & 0o777 == 0o600


def test_the_greeting_says_where_the_demo_accounts_lie(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path / "elsewhere"
    lines = _greeting("127.0.0.1", [DemoAccount("mina", "labeler", "secret")], 1.0)
    assert f"(kept in {tmp_path / 'elsewhere' / 'demo-accounts.json'}, readable by you alone)" in "\n".join(lines)
