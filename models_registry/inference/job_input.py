"""Reads what a job folder brings, config.json and JSONL rows; errors name the line, the field and the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models_registry.inference.program import ProgramError, read_json
from models_registry.inference.resumable_lines import parse_line


def read_config(folder: Path) -> dict[str, Any]:
    """The object in config.json, or ProgramError ``bad_config``."""
    try:
        config = read_json(folder / "config.json")
    except (OSError, ValueError) as error:
        raise ProgramError("bad_config", f"config.json cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ProgramError("bad_config", "config.json must hold an object.")
    return config


def read_number(
    raw: dict[str, Any], field: str, default: float, low: float, high: float, *, whole: bool = False, where: str = ""
) -> float:
    """The number in ``field``; ProgramError ``bad_config`` when it is none, or not from ``low`` to ``high``."""
    value = raw.get(field, default)
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool) and low <= value <= high
    if not fits:
        kind = "a whole number" if whole else "a number"
        raise ProgramError("bad_config", f"{where}{field}: {value!r} is not {kind} from {low:.15g} to {high:.15g}.")
    return float(value) if not whole else int(value)


def read_rows(folder: Path, name: object, field: str, columns: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the JSONL file ``name`` in the job folder, which the config's ``field`` names.

    ``columns`` gives the type of each field that a row must have; ``id`` is one of them and must be unique,
    ``messages`` must be a conversation. ProgramError ``bad_config`` or ``bad_data`` names line and field.
    """
    if not isinstance(name, str) or Path(name).name != name:
        raise ProgramError("bad_config", f"{field}: the name of a file in the job folder is needed.")
    try:
        lines = (folder / name).read_bytes().split(b"\n")
    except OSError as error:
        raise ProgramError("bad_data", f"{name} cannot be read: {error.strerror or error}") from error
    rows: dict[object, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            row = _read_row(line, f"{name}, line {number}", columns)
            if row["id"] in rows:
                raise ProgramError("bad_data", f"{name}, line {number}, id: {row['id']!r} stands there twice.")
            rows[row["id"]] = row
    if not rows:
        raise ProgramError("bad_data", f"{name} holds no rows.")
    return list(rows.values())


def _read_row(line: bytes, where: str, columns: dict[str, Any]) -> dict[str, Any]:
    row = parse_line(line + b"\n")
    if row is None:
        raise ProgramError("bad_data", f"{where}: not a JSON object.")
    for column, kind in columns.items():
        if not isinstance(row.get(column), kind) or isinstance(row.get(column), bool):
            raise ProgramError("bad_data", f"{where}, {column}: missing or of the wrong type.")
    messages = row["messages"]
    if not messages:
        raise ProgramError("bad_data", f"{where}, messages: empty.")
    for message in messages:
        if not isinstance(message, dict) or not all(isinstance(message.get(key), str) for key in ("role", "content")):
            raise ProgramError("bad_data", f"{where}, messages: each needs a role and a content, both text.")
    return row
