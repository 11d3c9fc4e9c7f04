"""A run launched as a clone of another: what differs between the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training.engine.config import METHODS, Setting, list_settings
from training.models import Run

PARTS = ("method", "dataset_version", "base_model")


@dataclass(frozen=True)
class Change:
    """``setting`` is None for what is no setting of the engine: data, base, method."""

    name: str
    before: Any
    after: Any
    setting: Setting | None = None


def list_changes(original: Run, run: Run) -> list[Change]:
    """What ``run``, saved or not, was given otherwise than ``original``; of settings those that both methods have."""
    changes = [
        Change(name, getattr(original, name), getattr(run, name)) for name in PARTS if _differ(name, original, run)
    ]
    theirs = {setting.name for setting in _list_settings(original.method)}
    for setting in _list_settings(run.method):
        if setting.name in theirs:
            before, after = (each.config.get(setting.name, setting.default) for each in (original, run))
            if before != after:
                changes.append(Change(setting.name, before, after, setting))
    return changes


def _differ(name: str, original: Run, run: Run) -> bool:
    """By the number of a row, so that nothing is fetched for what is the same."""
    column = name if name == "method" else f"{name}_id"
    return bool(getattr(original, column) != getattr(run, column))


def _list_settings(method: str) -> list[Setting]:
    return list_settings(method) if method in METHODS else []
