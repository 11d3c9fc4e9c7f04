"""Where the log goes and what its lines look like: those of the house, of gunicorn and of celery alike."""

from __future__ import annotations

from typing import Any

from models_registry.log_lines import shorten_refusals


def build_logging(form: str, level: str) -> dict[str, Any]:
    """``form`` text: lines for a terminal, none for requests that went well; json: see models_registry/log_lines.py."""
    is_json = form == "json"
    lines: dict[str, Any] = {
        "()": f"models_registry.log_lines.{'JsonLine' if is_json else 'PlainLine'}",
        "format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        "datefmt": "%H:%M:%S",
    }
    # Pages that follow a run ask every second or two; a person at a terminal need not see that.
    loggers: dict[str, Any] = {"config.request_log": {"level": "INFO" if is_json else "WARNING"}}
    if is_json:  # gunicorn has handlers of its own otherwise
        loggers["gunicorn.error"] = {"level": level, "handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": lines},
        "filters": {"short": {"()": "django.utils.log.CallbackFilter", "callback": shorten_refusals}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["short"]}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": loggers,
    }
