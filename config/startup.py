"""Settings that a person gets wrong: said in words at the start, not in a traceback."""

from __future__ import annotations

import os
from pathlib import Path

SHORTEST_TOKEN = 20


def prepare_data_dir(text: str) -> Path:
    """The folder for all that is written, made if it is missing; ends the program where that cannot be."""
    path = Path(text).expanduser().resolve()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(f"DATA_DIR={path} cannot be used: {error.strerror}.") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise SystemExit(f"DATA_DIR={path} cannot be written to.")
    return path


def read_port(text: str) -> int:
    """A port between 1 and 65535."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise SystemExit(f"PORT={text} is no port: a whole number from 1 to 65535.")
    return int(text)


def read_token(name: str, text: str) -> str:
    """Empty, or long enough that nobody guesses it."""
    if text and len(text) < SHORTEST_TOKEN:
        raise SystemExit(f"{name} is shorter than {SHORTEST_TOKEN} characters and could be guessed.")
    return text


def read_choice(name: str, text: str, choices: list[str]) -> str:
    """One of ``choices``."""
    if text not in choices:
        raise SystemExit(f"{name}={text} is none of {', '.join(choices)}.")
    return text
