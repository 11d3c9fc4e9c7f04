"""The secret key: made once, readable by its owner alone, never a known or short one."""

import contextlib
import os
import secrets
from pathlib import Path

from config.startup import SHORTEST_KEY


def load_secret_key(path: Path) -> str:
    """Reads the key, making it at the first start."""
    try:
        if not path.exists():
            _make_secret_key(path)
        key = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SystemExit(f"The secret key {path} cannot be read or made: {error.strerror}.") from None
    if len(key) < SHORTEST_KEY:
        raise SystemExit(
            f"The secret key {path} is shorter than {SHORTEST_KEY} characters. Remove it to get a new one."
        )
    return key


def _make_secret_key(path: Path) -> None:
    """Several processes may start at the same moment; the first one's key counts."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(50))
        with contextlib.suppress(FileExistsError):
            os.link(scratch, path)
    finally:
        scratch.unlink()
