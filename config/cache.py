"""A cache of files, shared by every web process on every host that shares DATA_DIR: it holds the counts of logins."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

from django.core.cache.backends.filebased import FileBasedCache


class SharedFiles(FileBasedCache):
    """Django's cache of files, whose ``add`` lets one of two processes win; the login limits lock by it."""

    def __init__(self, folder: str, params: dict[str, Any]) -> None:
        super().__init__(folder, params)
        self._lock = Path(folder, ".lock")

    def add(self, key: Any, *args: Any, **kwargs: Any) -> bool:
        self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # given back when the file closes
            return super().add(key, *args, **kwargs)
