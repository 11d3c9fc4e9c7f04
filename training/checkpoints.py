"""A run's checkpoints: which there are, and their way to another machine.

While a run trains, a thread stores its newest checkpoint; the row names it (``Run.checkpoints``) by a write that only
the owner of the present epoch can do. Another machine goes on from the newest one that the row names, checked by
digests, and the engine checks it again. Where there is no store, checkpoints stay in the attempts' folders.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any

from django.db import DatabaseError, InterfaceError, connection

from models_registry import depot, leases
from models_registry.leases import LeaseLost
from models_registry.store import Store, StoreError, get_file, get_folder, open_store, put_folder, remove_folder
from training.models import Run

log = logging.getLogger(__name__)

KEPT = 2
"""So many stay in the store, as on the disk: should the newest turn out damaged, there is another."""
LOOK_S, LAST_TRY_S = 1.0, 90.0
LOG_NAME = "log.txt"

_CHECKPOINT = re.compile(r"step-(\d+)")


def list_checkpoints(work: Run) -> list[tuple[int, int]]:
    """(epoch, step) of every checkpoint of every attempt on this disk; the engine says which are sound."""
    found = []
    for epoch in range(1, work.epoch + 1):
        folder = work.folder / f"attempt-{epoch}" / "checkpoints"
        names = os.listdir(folder) if folder.is_dir() else []
        found += [(epoch, int(match[1])) for match in map(_CHECKPOINT.fullmatch, names) if match]
    return found


def list_resumable(work: Run) -> list[str]:
    """The earlier attempts with checkpoints, newest first: where the newest is damaged, an older one goes on.

    A newer one that is only in the store is fetched to where it would lie.
    """
    here = [(epoch, step) for epoch, step in list_checkpoints(work) if epoch < work.epoch]
    if (store := open_store()) is not None:
        here += _fetch_newer(work, store, max(here, default=(0, 0)))
    return [str(work.folder / f"attempt-{epoch}") for epoch in sorted({epoch for epoch, _step in here}, reverse=True)]


@contextmanager
def mirrored(work: Run) -> Iterator[None]:
    """Inside, the newest checkpoint of this attempt goes to the store; so does the last one where it ends early."""
    store = open_store()
    if store is None:
        yield
        return
    mirror = _Mirror(work, store)
    mirror.start()
    try:
        yield
    except LeaseLost:
        mirror.stop()
        raise
    except Exception:
        mirror.stop()
        with leases.keep_alive(work):
            mirror.finish()
        raise
    mirror.stop()


def free_store(work: Run) -> None:
    """The model is registered: of all that the run stored, it and the log remain."""
    store = open_store()
    if store is None:
        return
    kept = (depot.name_key(work, "model") + "/", depot.name_key(work, LOG_NAME))
    try:
        for key in store.list(f"{work.folder_name}/{work.pk}"):
            if not key.startswith(kept):
                store.delete(key)
    except StoreError as error:
        log.warning("What %s left in the store stays there: %s", work, error)


def fetch_log(run: Run) -> Path:
    """Where the last attempt's whole log lies, fetched when the run is over. Raises StoreError, OSError."""
    path, store = run.attempt_folder / LOG_NAME, open_store()
    if store is not None and run.is_over and not path.exists():
        get_file(store, depot.name_key(run, LOG_NAME), path)
    return path


class _Mirror(threading.Thread):
    def __init__(self, work: Run, store: Store) -> None:
        context = copy_context()  # so that what it logs names the work
        super().__init__(target=lambda: context.run(self._go), name="checkpoints", daemon=True)
        self._work, self._store, self._over = work, store, threading.Event()
        self._folder = work.attempt_folder / "checkpoints"
        self._named: list[dict[str, Any]] = list(work.checkpoints)
        self._spoiled: set[int] = set()

    def stop(self) -> None:
        self._over.set()
        self.join()

    def finish(self) -> None:
        """What came last, and the log; tried for a while: a worker that shuts down must not wait for ever."""
        deadline = time.monotonic() + LAST_TRY_S
        while time.monotonic() < deadline:
            try:
                self.copy_newest()
                store_log(self._work, self._store)
                return
            except (StoreError, DatabaseError, InterfaceError, OSError) as error:
                log.warning("The last checkpoint of %s is not stored yet: %s", self._work, error)
                time.sleep(LOOK_S)

    def copy_newest(self) -> None:
        """Stores the newest checkpoint if the row does not name it yet, names it there, and drops what is older."""
        epoch = self._work.epoch
        named = {entry["step"] for entry in self._named if entry["epoch"] == epoch}
        steps = [int(match[1]) for match in map(_CHECKPOINT.fullmatch, _list_names(self._folder)) if match]
        step = max(steps, default=0)
        if not step or step in named or step in self._spoiled:
            return
        name = f"step-{step:08d}"
        copy = self._folder.with_name(f".storing-{name}")
        try:
            _link_files(self._folder / name, copy)  # the engine removes old ones, however long the upload takes
            if not depot.is_whole(copy):
                self._spoiled.add(step)
                return
            key = depot.name_key(self._work, f"checkpoints/{name}")
            digest, _manifest = put_folder(self._store, key, copy)
        finally:
            shutil.rmtree(copy, ignore_errors=True)
        entries = [*self._named, {"epoch": epoch, "step": step, "key": key, "sha256": digest}]
        leases.note(self._work, checkpoints=entries[-KEPT:])
        self._named = entries[-KEPT:]
        for entry in entries[:-KEPT]:
            remove_folder(self._store, entry["key"])

    def _go(self) -> None:
        try:
            while not self._over.wait(LOOK_S):
                try:
                    self.copy_newest()
                except LeaseLost:  # the supervisor will see it, too
                    return
                except FileNotFoundError:  # overtaken by a newer one
                    continue
                except Exception as error:  # training goes on, whatever the store does
                    log.warning("A checkpoint of %s is not stored yet: %s", self._work, error)
                    connection.close()
                    self._over.wait(depot.PAUSE_S)
        finally:
            connection.close()


def store_log(work: Run, store: Store | None = None) -> None:
    """For the page of the run, which other hosts draw. Raises StoreError."""
    store, path = store or open_store(), work.attempt_folder / LOG_NAME
    if store is not None and path.exists():
        store.put(depot.name_key(work, LOG_NAME), path)


def _fetch_newer(work: Run, store: Store, here: tuple[int, int]) -> list[tuple[int, int]]:
    """The newest sound one that the row names, if it is newer than ``here``."""
    for entry in sorted(work.checkpoints, key=lambda entry: (entry["epoch"], entry["step"]), reverse=True):
        found = (int(entry["epoch"]), int(entry["step"]))
        if found <= here:
            break
        target = work.folder / f"attempt-{found[0]}" / "checkpoints" / f"step-{found[1]:08d}"
        try:
            with leases.keep_alive(work) as still_mine:
                depot.insist(work, lambda: get_folder(store, entry["key"], target, entry["sha256"]), still_mine)  # noqa: B023
            return [found]
        except leases.WorkFailed as error:
            if error.code == "store_away":
                raise
            log.warning("The checkpoint of step %d of %s is not used: %s", found[1], work, error)
    return []


def _list_names(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []


def _link_files(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(mode=0o700)
    for path in source.iterdir():
        os.link(path, target / path.name)
