"""What a person gets wrong in the environment is said in words, before anything starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def start(**environment: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "manage.py", "check"]
    env = {**os.environ, **environment}
    env.pop("PYTEST_CURRENT_TEST", None)
    return subprocess.run(argv, env=env, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=60)


@pytest.mark.parametrize("port", ["abc", "80x", "70000", "-1", "0"])
def test_a_port_that_is_none(port: str, tmp_path: Path) -> None:
    ended = start(PORT=port, DATA_DIR=str(tmp_path))
    assert ended.returncode == 1
    assert ended.stderr == f"PORT={port} is no port: a whole number from 1 to 65535.\n"


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
