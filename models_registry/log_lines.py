"""The log, one JSON object a line (LOG_FORMAT=json): which request or which piece of work every line belongs to.

Only what is named here enters a line, never a form, a query string, a prompt or a vote.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

_bound: ContextVar[Mapping[str, Any]] = ContextVar("log_fields", default={})  # noqa: B039 -- never changed in place

_DETAIL = re.compile(r"^DETAIL:.*?(?=^(?:HINT|CONTEXT|LINE|Traceback|The above|During) ?|\Z)", re.DOTALL | re.MULTILINE)
"""With what PostgreSQL says beside an error: the row that it refused, texts of people and models included."""


@contextmanager
def bind_log_fields(**fields: Any) -> Iterator[None]:
    """Every line logged inside, by this thread and by those that copy its context, carries ``fields``."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def shorten_refusals(record: logging.LogRecord) -> bool:
    """A filter that lets all through: a page that is not for its asker (403) is no fault, so its traceback goes."""
    if getattr(record, "status_code", None) == 403:
        record.exc_info = None
    return True


class PlainLine(logging.Formatter):
    """For a person's terminal."""

    def formatException(self, ei: Any) -> str:
        return drop_rows(super().formatException(ei))


class JsonLine(PlainLine):
    """For programs that gather logs. ``extra={"fields": {...}}`` of a call joins what is bound."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": drop_rows(record.getMessage()),
            **_find_request(record),
            **_bound.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _find_request(record: logging.LogRecord) -> dict[str, str]:
    """Django reports a request that failed (``extra={"request": ...}``) when nothing is bound any more."""
    number = getattr(getattr(record, "request", None), "request_id", None)
    return {"request": number} if number else {}


def drop_rows(text: str) -> str:
    return _DETAIL.sub("DETAIL: left out of the log.\n", text)
