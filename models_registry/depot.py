"""Rows' files on their way to the store and back, for houses whose hosts share no disk; without a store, nothing.

DATA_DIR is then each host's own: what a host lacks it fetches, checked, to the very place where it would lie anyway.
What an attempt made is kept under a key that carries its epoch, and counts from the moment when a row names it, which
is written under the lease. A store that is away is waited for.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from models_registry import leases
from models_registry.draining import is_draining
from models_registry.models import ModelVersion
from models_registry.store import DamagedError, NotStored, StoreError, get_folder, open_store, put_folder
from models_registry.work import LeasedWork

log = logging.getLogger(__name__)
Done = TypeVar("Done")

PATIENCE_S = 3600.0
"""How long work that is done waits for a store that is away before it fails."""
PAUSE_S = 5.0
AWAY = "The object store does not answer; trying again"
_TRIES_DAMAGED = 3

StillMine = Callable[[], None]


def name_key(work: LeasedWork, name: str) -> str:
    """Where the present attempt keeps ``name``."""
    return f"{work.folder_name}/{work.pk}/{work.attempt_folder.name}/{name}"


def deposit(work: LeasedWork, name: str, folder: Path, still_mine: StillMine) -> dict[str, Any]:
    """Stores ``folder`` for the row to name: ``{"stored": {"key", "sha256"}}``; ``{}`` where there is no store.

    Raises WorkFailed (``store_away``) after an hour without success, WorkDrained, WorkCancelled, LeaseLost.
    """
    store = open_store()
    if store is None:
        return {}
    key = name_key(work, name)
    digest, _manifest = insist(work, lambda: put_folder(store, key, folder, between=still_mine), still_mine)
    return {"stored": {"key": key, "sha256": digest}}


def bring(work: LeasedWork, *fetchers: Callable[[StillMine], object]) -> None:
    """Lets each bring what the work needs to this machine; raises as ``deposit`` does, and ``not_stored``."""
    if open_store() is not None:
        with leases.keep_alive(work) as still_mine:
            for fetcher in fetchers:
                insist(work, partial(fetcher, still_mine), still_mine)


def bring_models(work: LeasedWork, *models: ModelVersion | None) -> None:
    """Sees to it that the files of ``models`` are on this machine."""
    bring(work, *(partial(fetch_model, model) for model in models if model is not None and not model.folder.is_dir()))


def fetch_model(model: ModelVersion, between: Callable[[], object] = lambda: None) -> Path:
    """The model's folder, from the store where it is not on this machine. Raises StoreError."""
    if not model.folder.is_dir() and not model.weights_removed_at:
        fetch(model.facts, model.folder, between)
    return model.folder


def fetch(facts: dict[str, Any], target: Path, between: Callable[[], object] = lambda: None) -> None:
    """To ``target`` what ``facts["stored"]`` names; nothing where it names none. Raises StoreError."""
    stored, store = facts.get("stored"), open_store()
    if stored and store is not None:
        get_folder(store, stored["key"], target, stored["sha256"], between=between)


def insist(work: LeasedWork, action: Callable[[], Done], still_mine: StillMine) -> Done:
    """``action``, again and again while the store is away; what is missing or damaged there fails in words."""
    deadline, damaged = time.monotonic() + PATIENCE_S, 0
    while True:
        try:
            return action()
        except NotStored as error:
            raise leases.WorkFailed("not_stored", str(error)) from error
        except StoreError as error:
            damaged += isinstance(error, DamagedError)
            if damaged >= _TRIES_DAMAGED:
                raise leases.WorkFailed("not_stored", str(error)) from error
            if time.monotonic() > deadline:
                raise leases.WorkFailed("store_away", str(error)) from error
            log.warning("%s %s waits for the store: %s", type(work).__name__, work.pk, error)
            still_mine()
            if is_draining():
                raise leases.WorkDrained from error
            leases.note(work, message=AWAY)
            time.sleep(PAUSE_S)


def is_whole(folder: Path) -> bool:
    """Whether the files are as a checkpoint's own manifest says; see training/engine/checkpoint.py."""
    from models_registry.inference.model_files import hash_file

    try:
        files = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
        return all(hash_file(folder / name) == expected["sha256"] for name, expected in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
