"""Settings that a person gets wrong: said in words at the start, not in a traceback."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

SHORTEST_TOKEN = 20
SHORTEST_KEY = 50
_SWITCHES = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off", ""), False)


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


def read_number(name: str, text: str, *, least: int = 0, most: int = 1_000_000) -> int:
    """A whole number from ``least`` to ``most``."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise SystemExit(f"{name}={text} is no whole number from {least} to {most}.")
    return int(text)


def read_switch(name: str, text: str) -> bool:
    """0 or 1, in the usual words; a word that is neither is no "off": it may have been meant to make things safe."""
    if text.lower() not in _SWITCHES:
        raise SystemExit(f"{name}={text} is neither 0 nor 1.")
    return _SWITCHES[text.lower()]


def read_time_zone(name: str, text: str) -> str:
    """A name of the IANA database, such as Asia/Seoul."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SystemExit(f"{name}={text} is no time zone such as UTC or Asia/Seoul.") from None
    return text


def read_origins(name: str, texts: list[str]) -> list[str]:
    """Addresses with their scheme, as browsers send them."""
    for text in texts:
        if not re.fullmatch(r"https?://[^/\s]+", text):
            raise SystemExit(f"{name}: {text} is no origin such as https://plumbline.example.org.")
    return texts


def read_url(name: str, text: str, schemes: list[str]) -> str:
    """The text itself is not repeated: it may hold a password."""
    if text.partition("://")[0] not in schemes or "://" not in text:
        raise SystemExit(f"{name} must begin with one of {', '.join(f'{scheme}://' for scheme in schemes)}.")
    try:
        _port = urlsplit(text).port
    except ValueError:
        raise SystemExit(f"{name} is no address: its port or host cannot be read.") from None
    return text


def read_store(name: str, text: str) -> str:
    """Where files shared by hosts lie: nowhere, a folder, or a bucket with or without a prefix."""
    if text and not re.fullmatch(r"file:///[^?#]+|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w./-]*)?", text, re.ASCII):
        raise SystemExit(f"{name} is neither file:///a/folder nor s3://bucket/prefix.")
    return text.rstrip("/")


def read_secret_key(text: str) -> str:
    """As given in the environment: long enough, or empty for the one that is kept in DATA_DIR."""
    if text and len(text) < SHORTEST_KEY:
        raise SystemExit(f"SECRET_KEY is shorter than {SHORTEST_KEY} characters; leave it out to get a good one.")
    return text


def read_token(name: str, text: str) -> str:
    """Empty, or long enough that nobody guesses it."""
    if text and len(text) < SHORTEST_TOKEN:
        raise SystemExit(f"{name} is shorter than {SHORTEST_TOKEN} characters and could be guessed.")
    return text


def read_labels(name: str, texts: list[str]) -> list[str]:
    """Short words that runs may ask for."""
    for text in texts:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,49}", text):
            raise SystemExit(f"{name}: {text} is no label of small letters, digits, dots and hyphens, such as a100.")
    return texts


def read_address(name: str, text: str) -> str:
    """A host's name or number, without a port."""
    if text and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:]{2,45}", text):
        raise SystemExit(f"{name}={text} is no host name or address, such as gpu-1.internal or 10.0.0.5.")
    return text


def read_choice(name: str, text: str, choices: list[str]) -> str:
    """One of ``choices``."""
    if text not in choices:
        raise SystemExit(f"{name}={text} is none of {', '.join(choices)}.")
    return text
