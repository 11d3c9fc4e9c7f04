"""A JSONL file that a program appends to, and takes up again after it was killed in the middle of a line."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any


class ResumableLines:
    """The rows of ``path`` by key (the values of ``key_fields``), and a way to append more.

    Opening keeps every whole line and cuts the file at the first that is torn or lacks a key field: what stood there is
    made again. Rows are on the disk when ``append`` returns.
    """

    def __init__(self, path: Path, key_fields: tuple[str, ...]) -> None:
        self.path = path
        self.rows: dict[Hashable, dict[str, Any]] = {}
        self._key_fields = key_fields
        if path.exists():
            self._load()

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        rows = list(rows)
        text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        with self.path.open("ab") as file:
            file.write(text.encode("utf-8", errors="replace"))
            file.flush()
            os.fsync(file.fileno())
        self.rows |= {self._key(row): row for row in rows}

    def _load(self) -> None:
        whole = 0
        with self.path.open("rb") as file:
            for line in file:
                row = parse_line(line)
                if row is None or not all(field in row for field in self._key_fields):
                    break
                self.rows[self._key(row)] = row
                whole += len(line)
        if whole < self.path.stat().st_size:
            os.truncate(self.path, whole)

    def _key(self, row: dict[str, Any]) -> Hashable:
        return tuple(row[field] for field in self._key_fields)


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The object on a whole line, None when the line is torn or holds anything else."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
