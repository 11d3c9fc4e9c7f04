"""Everything that the house keeps, copied into one folder and back: the database, models, runs, datasets, imports, key.

The database is copied first, as it stands at one moment, and the files after it: what rows name is not removed while it
is named, so the files are all there, and newer ones do no harm. The manifest comes last; without it a folder is no
backup. The house may run meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from training import trash

MANIFEST = "manifest.json"
FORMAT = 1
DATABASE_FILES = {"sqlite": "database.sqlite3", "postgresql": "database.dump"}
FILES = "files"
LEFT_OUT = frozenset({"broker", "cache", "locks", "static", trash.FOLDER})
"""Folders of DATA_DIR that are made anew, and what was thrown away."""
_CHUNK = 1024 * 1024


class BackupError(Exception):
    """It cannot be done; the text says why. Nothing of the house was changed."""


def back_up(target: Path) -> dict[str, Any]:
    """Copies everything into ``target``, which must not exist or be empty; returns the manifest.

    Raises BackupError, OSError.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError(f"{target} exists and is not an empty folder.")
    if target.resolve().is_relative_to(settings.DATA_DIR):
        raise BackupError(f"{target} lies in DATA_DIR, which is what is backed up.")
    try:
        with trash.hold_files():  # nothing is thrown away between the database's copy and that of the files
            return _copy_all(target)
    except trash.TrashError as error:
        raise BackupError(str(error)) from error


def _copy_all(target: Path) -> dict[str, Any]:
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = target / DATABASE_FILES[connection.vendor]
    _dump_database(database)
    copied = [_describe(database, target)]
    for path in _list_files(settings.DATA_DIR):
        copy = target / FILES / path.relative_to(settings.DATA_DIR)
        if _copy(path, copy):
            copied.append(_describe(copy, target))
    manifest = {
        "format": FORMAT,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "database": connection.vendor,
        "files": copied,
    }
    with (target / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    return manifest


def restore(source: Path) -> dict[str, Any]:
    """Checks a backup whole, copies it into an empty house and applies newer migrations; returns the manifest.

    Raises BackupError where anything of the backup is missing or damaged, or the house is not empty; OSError.
    """
    manifest = _read_manifest(source)
    if manifest["database"] != connection.vendor:
        raise BackupError(
            f"The backup holds a {manifest['database']} database, DATABASE_URL names {connection.vendor}."
        )
    for entry in manifest["files"]:
        path = source / entry["path"]
        if not path.is_file() or _describe(path, source) != entry:
            raise BackupError(f"{entry['path']} is missing or damaged; nothing was restored.")
    if connection.introspection.table_names():
        raise BackupError("The database holds tables already. Restore into an empty one.")
    if any(path.name != "secret_key" for path in _list_files(settings.DATA_DIR)):
        raise BackupError(f"{settings.DATA_DIR} holds files already. Restore into an empty DATA_DIR.")
    for entry in manifest["files"]:
        path = Path(entry["path"])
        if path.parts[0] == FILES:
            _copy(source / path, settings.DATA_DIR.joinpath(*path.parts[1:]))
    _load_database(source / DATABASE_FILES[connection.vendor])
    call_command("migrate", verbosity=0, interactive=False)
    return manifest


def _read_manifest(source: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
        known = manifest["format"] == FORMAT
        entries = [Path(entry["path"]) for entry in manifest["files"]]
    except FileNotFoundError:
        raise BackupError(f"{source} has no {MANIFEST}: it is no backup, or one that was not finished.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{source / MANIFEST} cannot be read: {error}") from error
    if not known:
        raise BackupError(f"The backup has format {manifest['format']}; this version reads {FORMAT}.")
    if any(path.is_absolute() or ".." in path.parts for path in entries):
        raise BackupError(f"{MANIFEST} names a file outside the backup.")
    return manifest


def _list_files(folder: Path) -> Iterator[Path]:
    """Files worth keeping, in order; links and what is being written (a name with a dot before it) are not."""
    database = str(connection.settings_dict["NAME"])
    for root, names, files in os.walk(folder):
        here = Path(root)
        names[:] = sorted(name for name in names if not name.startswith(".") and not (here / name).is_symlink())
        if here == folder:
            names[:] = [name for name in names if name not in LEFT_OUT]
        for name in sorted(files):
            path = here / name
            if not name.startswith(".") and not path.is_symlink() and not str(path).startswith(database):
                yield path


def _copy(source: Path, target: Path) -> bool:
    """False where the file is gone, as an older checkpoint that made room for a newer one."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        shutil.copy2(source, target)
    except FileNotFoundError:
        return False
    return True


def _describe(path: Path, root: Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return {"path": path.relative_to(root).as_posix(), "bytes": size, "sha256": digest.hexdigest()}


def _dump_database(target: Path) -> None:
    if connection.vendor == "sqlite":
        connection.ensure_connection()
        with closing(sqlite3.connect(target)) as copy:
            connection.connection.backup(copy)
        return
    _run_postgresql("pg_dump", "--format=custom", "--no-owner", f"--file={target}")


def _load_database(source: Path) -> None:
    if connection.vendor == "sqlite":
        connection.ensure_connection()
        with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as copy:
            copy.backup(connection.connection)
        return
    name = connection.settings_dict["NAME"]
    _run_postgresql(
        "pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", f"--dbname={name}", str(source)
    )
    connection.close()


def _run_postgresql(program: str, *options: str) -> None:
    """One of PostgreSQL's own programs; the password goes by the environment, which others cannot read."""
    values = connection.settings_dict
    named = {"PGHOST": "HOST", "PGPORT": "PORT", "PGUSER": "USER", "PGPASSWORD": "PASSWORD", "PGDATABASE": "NAME"}
    environment = os.environ | {variable: str(values[name]) for variable, name in named.items() if values[name]}
    try:
        subprocess.run([program, *options], env=environment, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise BackupError(f"{program} is not installed; it comes with PostgreSQL's client programs.") from None
    except subprocess.CalledProcessError as error:
        raise BackupError(f"{program} failed: {error.stderr.strip()}") from error
