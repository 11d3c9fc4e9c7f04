"""Writing files that are either whole or not there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson


class JsonLinesWriter:
    """Writes objects as lines to ``path`` and digests them on the way; on leaving well the bytes are on the disk."""

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self._path = path
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hex digest of what was written so far."""
        return self._digest.hexdigest()

    def write(self, data: dict[str, Any]) -> None:
        line = orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE)
        self._file.write(line)
        self._digest.update(line)
        self.rows += 1

    def __enter__(self) -> Self:
        self._file = open_private(self._path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            self._file.close()


def open_private(path: Path) -> Any:
    """A new file for bytes that nobody but its owner reads (0600), in a folder of 0700."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def write_text(path: Path, text: str) -> None:
    with open_private(path) as file:
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def publish_files(scratch: Path, folder: Path, names: list[str]) -> None:
    """Moves finished files from ``scratch`` to ``folder``, each in one step, and makes the move last."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in names:
        os.replace(scratch / name, folder / name)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
