"""The supervisor's side of the files that models_registry/inference/program.py describes.

What a program writes is read with caution: sizes are bounded, types are checked, half-written lines wait.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_registry.inference.program import read_json, write_json_atomically

log = logging.getLogger(__name__)

LOG_TAIL_BYTES = 64_000
LOG_MAX_BYTES = 64_000_000
_METRICS_AT_ONCE = 1_000_000
_STATUS_MAX_BYTES = 1_000_000
_MAX_NUMBER = 2**31 - 1


@dataclass(frozen=True)
class Status:
    """What status.json says; ``state`` is empty until the program has written one."""

    state: str = ""
    step: int | None = None
    total_steps: int | None = None
    seconds_left: int | None = None
    message: str = ""
    cause_code: str = ""
    cause_text: str = ""


class ProgramFolder:
    """One attempt's folder; made anew, for nobody but us to read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._beats = 0
        self._metrics_offset = 0

    def prepare(self, config: dict[str, Any]) -> None:
        """An empty folder with config.json in it. The epoch in its name is ours alone, so nobody else writes here."""
        if self.path.exists():
            shutil.rmtree(self.path)
        self.path.mkdir(mode=0o700, parents=True)
        write_json_atomically(self.path / "config.json", config)
        self.beat()

    def beat(self) -> None:
        self._beats += 1
        scratch = self.path / ".heartbeat"
        scratch.write_text(str(self._beats), encoding="utf-8")
        scratch.replace(self.path / "heartbeat")

    def ask_to_stop(self, reason: str) -> None:
        scratch = self.path / ".stop"
        scratch.write_text(reason, encoding="utf-8")
        scratch.replace(self.path / "stop")  # the program must not find it before the reason stands in it

    def open_log(self) -> int:
        """A descriptor to append to; whoever opened it goes on at the new end when trim_log cuts."""
        return os.open(self.path / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def trim_log(self) -> None:
        """A program that writes without end must not fill the disk."""
        path = self.path / "log.txt"
        if path.exists() and path.stat().st_size > LOG_MAX_BYTES:
            os.truncate(path, 0)
            with path.open("a", encoding="utf-8") as file:
                file.write(f"[the log grew beyond {LOG_MAX_BYTES // 1_000_000} MB; what stood here was dropped]\n")

    def read_log_tail(self) -> str:
        """The last lines, at most LOG_TAIL_BYTES; of a progress bar's redrawn line only the last picture."""
        try:
            with (self.path / "log.txt").open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - LOG_TAIL_BYTES))
                data = file.read(LOG_TAIL_BYTES)
        except FileNotFoundError:
            return ""
        if size > LOG_TAIL_BYTES:
            data = data.partition(b"\n")[2] or data
        text = data.decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}").replace("\r\n", "\n")
        return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))

    def read_status(self) -> Status:
        """What the program says of itself; an unreadable file counts as none."""
        path = self.path / "status.json"
        try:
            raw = read_json(path) if path.stat().st_size < _STATUS_MAX_BYTES else {}
        except FileNotFoundError:
            return Status()
        except (OSError, ValueError, RecursionError) as error:
            log.warning("%s could not be read: %s", path, error)
            return Status()
        raw = raw if isinstance(raw, dict) else {}
        cause = raw.get("cause")
        cause = cause if isinstance(cause, dict) else {}
        return Status(
            state=_read_text(raw.get("state"), 20),
            step=_read_number(raw.get("step")),
            total_steps=_read_number(raw.get("total_steps")),
            seconds_left=_read_number(raw.get("eta_s")),
            message=_read_text(raw.get("message"), 500),
            cause_code=_read_text(cause.get("code"), 50),
            cause_text=_read_text(cause.get("text"), 10_000),
        )

    def read_result(self) -> dict[str, Any] | None:
        try:
            result = read_json(self.path / "result.json")
        except (OSError, ValueError, RecursionError):
            return None
        return result if isinstance(result, dict) else None

    def peek_metrics(self) -> tuple[list[dict[str, Any]], int]:
        """The whole lines of metrics.jsonl that are not yet accepted, and the offset to accept when they are filed."""
        try:
            with (self.path / "metrics.jsonl").open("rb") as file:
                file.seek(self._metrics_offset)
                data = file.read(_METRICS_AT_ONCE)
        except FileNotFoundError:
            return [], self._metrics_offset
        whole = data.rpartition(b"\n")
        length = len(whole[0]) + len(whole[1])
        if not length and len(data) == _METRICS_AT_ONCE:  # one endless line: not ours, step over it
            return [], self._metrics_offset + len(data)
        rows = (_read_metrics(line) for line in data[:length].splitlines())
        return [row for row in rows if row is not None], self._metrics_offset + length

    def has_news(self) -> bool:
        try:
            return (self.path / "metrics.jsonl").stat().st_size > self._metrics_offset
        except FileNotFoundError:
            return False

    def accept_metrics(self, offset: int) -> None:
        self._metrics_offset = offset


def _read_metrics(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line, parse_constant=lambda _name: None)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and _read_number(row.get("step")) is not None else None


def _read_number(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_NUMBER:
        return None
    return int(value)


def _read_text(value: Any, length: int) -> str:
    return value.replace("\x00", "\N{REPLACEMENT CHARACTER}")[:length] if isinstance(value, str) else ""
