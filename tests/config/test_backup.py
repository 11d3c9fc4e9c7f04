"""A house comes back whole elsewhere, and a damaged backup is refused before anything is written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from psycopg import sql

from config.backup import BackupError, restore

ROOT = Path(settings.BASE_DIR)
Manage = Callable[..., subprocess.CompletedProcess[str]]

FILL = """
from django.contrib.auth.models import User
from annotate.models import Project
admin = User.objects.create_superuser("ada", password="a long password")
Project.objects.create(name="눈송이 answers", slug="snow", created_by=admin)
"""
COUNT = "from annotate.models import Project; print([(p.name, p.created_by.username) for p in Project.objects.all()])"


@pytest.fixture
def database_urls() -> Iterator[tuple[str, str]]:
    """Addresses of two databases that hold nothing, of the kind that the tests run on."""
    if "sqlite" in settings.DATABASES["default"]["ENGINE"]:
        yield "", ""
        return
    values = settings.DATABASES["default"]
    place = f"{values['USER']}:{values['PASSWORD']}@{values['HOST']}:{values['PORT'] or 5432}"
    names = [f"backup_{uuid.uuid4().hex}" for _ in range(2)]
    with psycopg.connect(f"postgresql://{place}/postgres", autocommit=True) as server:
        for name in names:
            server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield f"postgres://{place}/{names[0]}", f"postgres://{place}/{names[1]}"
        for name in names:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def manage_house(data_dir: Path, url: str) -> Manage:
    environment = {key: value for key, value in os.environ.items() if key not in ("DATABASE_URL", "SECRET_KEY")}
    environment |= {"DATA_DIR": str(data_dir)} | ({"DATABASE_URL": url} if url else {})

    def manage(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    return manage


def test_a_backup_comes_back_in_an_empty_house_only(tmp_path: Path, database_urls: tuple[str, str]) -> None:
    old, new, backup = tmp_path / "old", tmp_path / "new", tmp_path / "backup"
    manage = manage_house(old, database_urls[0])
    assert manage("migrate", "-v", "0").returncode == 0
    assert manage("shell", "-v", "0", "-c", FILL).returncode == 0
    weights = old / "models" / "1" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights" * 100_000)
    (old / "models" / "1" / ".half-written").write_bytes(b"x")
    (old / "cache").mkdir(exist_ok=True)
    (old / "cache" / "counts").write_bytes(b"x")
    made = manage("backup", backup)
    assert made.returncode == 0, made.stderr
    assert (backup.stat().st_mode & 0o777) == 0o700
    assert "not an empty folder" in manage("backup", backup).stderr
    assert "lies in DATA_DIR" in manage("backup", old / "backup").stderr

    other = manage_house(new, database_urls[1])
    done = other("restore", backup)
    assert done.returncode == 0, done.stderr
    assert (new / "models" / "1" / "model.safetensors").read_bytes() == weights.read_bytes()
    assert [path.name for path in (new / "models" / "1").iterdir()] == ["model.safetensors"]
    assert (new / "secret_key").read_text() == (old / "secret_key").read_text()
    assert "[('눈송이 answers', 'ada')]" in other("shell", "-v", "0", "-c", COUNT).stdout
    again = other("restore", backup)
    assert again.returncode == 1 and "holds tables already" in again.stderr and "Traceback" not in again.stderr


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (
            lambda folder, _files: (folder / "files" / "notes").write_bytes(b"012345678X"),
            "files/notes is missing or damaged",
        ),
        (lambda folder, _files: (folder / "files" / "notes").unlink(), "files/notes is missing or damaged"),
        (lambda folder, files: write_manifest(folder, files=[*files, {"path": "../../x"}]), "outside the backup"),
        (lambda folder, files: write_manifest(folder, files=files, format=2), "format 2; this version reads 1"),
        (lambda folder, files: write_manifest(folder, files=files, database="oracle"), "holds a oracle database"),
        (lambda folder, _files: (folder / "manifest.json").write_text("{"), "cannot be read"),
        (lambda folder, _files: (folder / "manifest.json").unlink(), "no manifest.json"),
        (lambda folder, _files: shutil.rmtree(folder), "no manifest.json"),
    ],
)
def test_a_damaged_or_unfinished_backup_is_refused(
    spoil: Callable[[Path, list[dict[str, Any]]], object], reason: str, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    (backup / "files").mkdir(parents=True)
    (backup / "files" / "notes").write_bytes(b"0123456789")
    digest = hashlib.sha256(b"0123456789").hexdigest()
    files = [{"path": "files/notes", "bytes": 10, "sha256": digest}]
    write_manifest(backup, files=files)
    spoil(backup, files)
    with pytest.raises(BackupError, match=reason):
        restore(backup)


def write_manifest(folder: Path, **values: Any) -> None:
    known = {"format": 1, "made_at": "2026-11-21T12:00:00+00:00", "database": connection.vendor}
    (folder / "manifest.json").write_text(json.dumps(known | values))
