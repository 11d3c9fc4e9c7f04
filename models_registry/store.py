"""Where hosts that share no disk leave files for each other: a folder that all of them see, or S3-compatible storage.

Keys are made of kinds, numbers and epochs, never of what a person typed. What belongs together is a folder of files
with a manifest (size and SHA-256 of each), which is written last: without it nothing is there. Whoever fetches checks
every byte against the manifest, and the manifest against the digest in the row that names the folder. So half an upload
does not exist, a damaged one is not used, and what a fenced-off owner uploads is named by no row. See depot.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from django.conf import settings

from models_registry.disk import is_disk_full
from models_registry.inference.model_files import hash_file

MANIFEST = ".manifest.json"
_PARTS, _LEAST_PART = 5_000, 8 * 1024**2
"""S3 takes an upload in at most 10,000 parts."""

Manifest = dict[str, dict[str, Any]]


class StoreError(Exception):
    """The store cannot be used now, or not so; the text says why."""


class NotStored(StoreError):
    """There is no such file in the store."""


class DamagedError(StoreError):
    """What lies in the store is not what was put there."""


class Store(ABC):
    """Files by key. Each method raises StoreError, ``get`` NotStored where there is nothing."""

    url: str

    @abstractmethod
    def put(self, key: str, source: Path) -> None:
        """Replaces what was there in one step: nobody sees half a file."""

    @abstractmethod
    def get(self, key: str, target: Path) -> None:
        """Writes the file to ``target``, which may be left half written where this fails."""

    @abstractmethod
    def list(self, prefix: str = "") -> list[str]:
        """The keys of all files below ``prefix``, a folder; in order."""

    @abstractmethod
    def exists(self, key: str) -> bool: ...

    @abstractmethod
    def delete(self, key: str) -> None:
        """What is not there is as good as deleted."""


class FolderStore(Store):
    """A folder on a disk that every host mounts. It is never made here: an empty mount point is no store."""

    def __init__(self, root: Path) -> None:
        self.url, self._root = f"file://{root}", root

    def put(self, key: str, source: Path) -> None:
        with self._explaining():
            target = self._locate(key)
            scratch = target.with_name(f".{uuid.uuid4().hex}.part")
            try:
                while not scratch.exists():  # another host may just remove the folder, which was empty
                    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    with suppress(FileNotFoundError):
                        scratch.touch(0o600)
                shutil.copyfile(source, scratch)
                with scratch.open("rb") as file:
                    os.fsync(file.fileno())
                scratch.replace(target)
            finally:
                scratch.unlink(missing_ok=True)

    def get(self, key: str, target: Path) -> None:
        with self._explaining():
            shutil.copyfile(self._locate(key), target)

    def list(self, prefix: str = "") -> list[str]:
        with self._explaining():
            top = self._locate(prefix)
            found = (Path(root, name) for root, _folders, names in os.walk(top) for name in names)
            return sorted(path.relative_to(self._root).as_posix() for path in found if path.suffix != ".part")

    def exists(self, key: str) -> bool:
        with self._explaining():
            return self._locate(key).is_file()

    def delete(self, key: str) -> None:
        with self._explaining():
            path = self._locate(key)
            path.unlink(missing_ok=True)
            with suppress(OSError):  # unless it is empty now
                path.parent.rmdir()

    def _locate(self, key: str) -> Path:
        if not self._root.is_dir():
            raise StoreError(f"There is no folder {self._root}. Is it mounted?")
        return self._root / key

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotStored(f"{self.url}: {error.filename} is not there.") from error
        except OSError as error:
            if is_disk_full(error):
                raise
            raise StoreError(f"{self.url}: {error.strerror or error}") from error


class S3Store(Store):
    """A bucket at any service that speaks S3; obstore is imported by houses that have one alone."""

    def __init__(self, bucket: str, prefix: str, *, hurried: bool = False) -> None:
        try:
            from obstore.store import S3Store as Bucket
        except ImportError as error:
            raise StoreError("STORE_URL names S3, but the package obstore is not installed.") from error
        from datetime import timedelta

        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket: Any = Bucket(
            bucket,
            prefix=prefix or None,
            config=cast(Any, {name: value for name, value in settings.STORE_S3.items() if value}),
            client_options={
                "allow_http": settings.STORE_S3["endpoint"].startswith("http://"),
                "connect_timeout": "2s" if hurried else "5s",
                "timeout": "2s" if hurried else "1h",  # of a whole answer, however large
            },
            retry_config={"max_retries": 0 if hurried else 3, "retry_timeout": timedelta(seconds=60)},
        )

    def put(self, key: str, source: Path) -> None:
        with self._explaining(key):
            self._bucket.put(key, source, chunk_size=max(_LEAST_PART, source.stat().st_size // _PARTS))

    def get(self, key: str, target: Path) -> None:
        with self._explaining(key), target.open("wb") as file:
            for chunk in self._bucket.get(key).stream(min_chunk_size=_LEAST_PART):
                file.write(chunk)

    def list(self, prefix: str = "") -> list[str]:
        with self._explaining(prefix):
            return sorted(str(entry["path"]) for batch in self._bucket.list(prefix or None) for entry in batch)

    def exists(self, key: str) -> bool:
        try:
            with self._explaining(key):
                self._bucket.head(key)
        except NotStored:
            return False
        return True

    def delete(self, key: str) -> None:
        with suppress(NotStored), self._explaining(key):
            self._bucket.delete(key)

    @contextmanager
    def _explaining(self, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError as error:
            raise NotStored(f"{self.url}: {key} is not there.") from error
        except (BaseError, OSError) as error:
            if is_disk_full(error):
                raise
            first = str(error).strip().partition("\n")[0][:300]
            raise StoreError(f"{self.url}: {first or type(error).__name__}") from error


def open_store(*, hurried: bool = False) -> Store | None:
    """The house's store; None where everything stays in DATA_DIR. ``hurried``: it gives up after two seconds."""
    return open_url(settings.STORE_URL, hurried=hurried) if settings.STORE_URL else None


def open_url(url: str, *, hurried: bool = False) -> Store:
    """``file:///a/folder`` or ``s3://bucket/prefix``; raises StoreError where its client is not installed."""
    # A client's threads do not survive a fork.
    return _open(url, tuple(settings.STORE_S3.values()), os.getpid(), hurried)


@lru_cache(maxsize=8)
def _open(url: str, _s3: tuple[str, ...], _process: int, hurried: bool) -> Store:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return FolderStore(Path(parts.path))
    return S3Store(parts.netloc, parts.path.strip("/"), hurried=hurried)


def get_file(store: Store, key: str, target: Path, sha256: str = "") -> None:
    """Fetches one file, which appears in one step; checked where its digest is known. Raises StoreError, OSError."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        store.get(key, scratch)
        if sha256 and hash_file(scratch) != sha256:
            raise DamagedError(f"{store.url}/{key} is not what was stored: its SHA-256 differs.")
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


# -- Folders ----------------------------------------------------------------------------------------------------------


def put_folder(
    store: Store, key: str, folder: Path, *, between: Callable[[], object] = lambda: None
) -> tuple[str, Manifest]:
    """Stores the files of ``folder`` (not its subfolders) below ``key``; gives the manifest and its SHA-256.

    ``between`` is called before each file, and may raise. Files that are there already are written again.
    """
    manifest: Manifest = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            between()
            manifest[path.name] = {"size": path.stat().st_size, "sha256": hash_file(path)}
            store.put(f"{key}/{path.name}", path)
    text = json.dumps(manifest, indent=1).encode()
    scratch = folder / MANIFEST
    scratch.write_bytes(text)
    try:
        store.put(f"{key}/{MANIFEST}", scratch)
    finally:
        scratch.unlink(missing_ok=True)
    return hashlib.sha256(text).hexdigest(), manifest


def get_folder(
    store: Store, key: str, target: Path, sha256: str = "", *, between: Callable[[], object] = lambda: None
) -> Manifest:
    """Fetches what ``put_folder`` stored; ``target`` appears in one step, when every byte was found as it was put.

    ``sha256``: of the manifest, where a row names it. Raises StoreError, DamagedError, NotStored; OSError of this disk.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = target.parent / f".{target.name}.{uuid.uuid4().hex}"
    scratch.mkdir(mode=0o700)
    try:
        manifest = _get_manifest(store, key, scratch, sha256)
        for name, expected in manifest.items():
            between()
            store.get(f"{key}/{name}", scratch / name)
            if {"size": (scratch / name).stat().st_size, "sha256": hash_file(scratch / name)} != expected:
                raise DamagedError(f"{store.url}/{key}/{name} is not what was stored: its SHA-256 differs.")
        try:
            scratch.rename(target)
        except OSError:  # it is there: somebody was quicker, or parts of it were left
            for name in manifest:
                (scratch / name).replace(target / name)
        return manifest
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def remove_folder(store: Store, key: str) -> None:
    """Deletes all below ``key``, the manifests first: what is half deleted is not there."""
    for name in sorted(store.list(key), key=lambda name: not name.endswith(MANIFEST)):
        store.delete(name)


def _get_manifest(store: Store, key: str, scratch: Path, sha256: str) -> Manifest:
    path = scratch / MANIFEST
    store.get(f"{key}/{MANIFEST}", path)
    text = path.read_bytes()
    path.unlink()
    if sha256 and hashlib.sha256(text).hexdigest() != sha256:
        raise DamagedError(f"{store.url}/{key}/{MANIFEST} is not the one that was stored.")
    try:
        manifest: Manifest = json.loads(text)
        if not all(Path(name).name == name and not name.startswith(".") for name in manifest):
            raise ValueError("it names files elsewhere")
    except (ValueError, TypeError, AttributeError) as error:
        raise DamagedError(f"{store.url}/{key}/{MANIFEST} cannot be read: {error}") from error
    return manifest
