"""Files that several processes read and write at the same time."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_in_one_step(path: Path, text: str) -> None:
    """Readers see the old content or the new, never half of it; for the owner's eyes only."""
    scratch = path.with_name(f".{uuid.uuid4().hex}.scratch")
    try:
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """One process at a time; ``path`` is made for the lock alone."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
