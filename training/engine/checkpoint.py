"""Checkpoints that are either whole or not there, without pickles.

    checkpoints/step-00000050/model.safetensors, optimizer.safetensors, rng.safetensors, state.json, manifest.json

A checkpoint is written beside its place, every file is synced, the manifest (size and SHA-256 of each file) comes last,
and one rename makes it exist. Reading trusts nothing: the newest checkpoint whose files match its manifest is taken.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from models_registry.inference.program import ProgramError, read_json, write_json_atomically

FOLDER = "checkpoints"
MANIFEST = "manifest.json"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Checkpoint:
    path: Path
    state: dict[str, Any]

    def read_tensors(self, name: str) -> dict[str, Tensor]:
        return load_file(self.path / f"{name}.safetensors")


def save_checkpoint(
    folder: Path, step: int, groups: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], *, keep: int
) -> Path:
    """Writes one checkpoint into ``folder`` and then removes all but the newest ``keep``.

    Whatever fails, earlier checkpoints are left as they were. Raises OSError (ENOSPC when the disk is full), and
    ProgramError ``disk_full`` before anything is written where it would hardly fit.
    """
    target = folder / f"step-{step:08d}"
    scratch = folder / f".step-{step:08d}.{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    _remove_scratch(folder)
    _require_room(folder, groups)
    scratch.mkdir()
    try:
        for name, tensors in groups.items():
            write_tensors(scratch / f"{name}.safetensors", tensors)
        write_json_atomically(scratch / "state.json", dict(state))
        files = {path.name: _describe(path) for path in sorted(scratch.iterdir())}
        write_json_atomically(scratch / MANIFEST, {"step": step, "files": files})
        sync_folder(scratch)
        if target.exists():  # an earlier one of the same step, found corrupt or overtaken
            shutil.rmtree(target)
        scratch.rename(target)
        sync_folder(folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    for old in list_checkpoints(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def find_checkpoint(folders: Iterable[Path], warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint in ``folders`` that is whole; each newer one that is not is named through ``warn``."""
    found = [path for folder in folders for path in list_checkpoints(folder)]
    for path in sorted(found, key=lambda path: path.name, reverse=True):
        reason = find_damage(path)
        if reason is None:
            return Checkpoint(path, read_json(path / "state.json"))
        warn(f"The checkpoint {path.name} is damaged ({reason}); falling back to an earlier one.")
    return None


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, the newest first; they may be damaged."""
    return sorted(folder.glob("step-*"), key=lambda path: path.name, reverse=True)


def find_damage(path: Path) -> str | None:
    """Why the checkpoint cannot be trusted, None when every file matches the manifest."""
    try:
        files = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["files"]
        for name, expected in files.items():
            if Path(name).name != name:
                return f"{name!r} is no file name"
            if (path / name).stat().st_size != expected["size"]:
                return f"{name} has the wrong size"
            if _describe(path / name) != expected:
                return f"{name} has the wrong SHA-256"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its manifest cannot be read: {error}"
    return None


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Writes and syncs one safetensors file, replacing an old one in one step."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}")  # process ids repeat where machines share a disk
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(ready, scratch, metadata=metadata)
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(path)
    except SafetensorError as error:  # it hides the operating system's error number in its text
        scratch.unlink(missing_ok=True)
        number = next((code for code in _FULL if f"os error {code}" in str(error)), errno.EIO)
        raise OSError(number, os.strerror(number), str(path)) from error
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def sync_folder(path: Path) -> None:
    """Makes the names in a folder survive a power cut, as fsync does for a file's content."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _describe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _require_room(folder: Path, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Twice the size of the checkpoint, so that the one beside us and the logs have room too."""
    tensors = [tensor for group in groups.values() for tensor in group.values()]
    needed = 2 * sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    free = shutil.disk_usage(folder).free
    if free < needed:
        sizes = f"{needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
        what = "The checkpoint and its predecessor need"
        raise ProgramError("disk_full", f"{what} {sizes}. Free some space, then resume the run.")


def _remove_scratch(folder: Path) -> None:
    """What a killed process left half written; only one process writes here."""
    for path in folder.glob(".step-*"):
        shutil.rmtree(path, ignore_errors=True)
