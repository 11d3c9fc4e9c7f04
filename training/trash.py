"""The trash: what the collection of garbage took away lies in ``DATA_DIR/trash`` for some days, then goes for good.

    trash/20261121T170000-1f0c9a2b/entry.json, content

A thing is moved by one rename, after its entry is written and synced; it is there or here, whenever the process dies.
Nothing is followed that is a link, and nothing is touched outside DATA_DIR.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from models_registry.inference.program import read_json, write_json_atomically
from models_registry.slots import make_locks_folder

FOLDER = "trash"
_NAME = re.compile(r"(\d{8}T\d{6})-[0-9a-f]{8}\Z")
_STAMP = "%Y%m%dT%H%M%S"


class TrashError(Exception):
    """It cannot be moved; the text says why. Nothing was changed."""


@dataclass(frozen=True)
class Entry:
    """One thing in the trash; ``place`` is where it lay, below DATA_DIR."""

    name: str
    place: str
    bytes: int
    taken_at: datetime
    has_content: bool

    @property
    def goes_at(self) -> datetime:
        return self.taken_at + timedelta(days=settings.GARBAGE_GRACE_DAYS)


@contextmanager
def hold_files() -> Iterator[None]:
    """One collection at a time on this machine, and none during a backup. Raises TrashError."""
    descriptor = os.open(make_locks_folder() / "garbage.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrashError(_("A backup or another collection is under way. Try again later.")) from error
        yield
    finally:
        os.close(descriptor)


def is_plain(place: str) -> bool:
    """Whether this place below DATA_DIR is there and neither it nor a folder above it is a link."""
    path = settings.DATA_DIR
    parts = PurePosixPath(place).parts
    if not parts or any(part in ("..", "/") for part in parts):
        return False
    for number, part in enumerate(parts, start=1):
        path = path / part
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            return False
        if not (stat.S_ISDIR(mode) or (number == len(parts) and stat.S_ISREG(mode))):
            return False
    return True


def measure(path: Path) -> int:
    """Bytes of a file or of all below a folder; links count as nothing."""
    total = 0
    with suppress(OSError):
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode):
            return status.st_size
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(path) as entries:
                total = sum(measure(Path(entry.path)) for entry in entries)
    return total


def take(place: str) -> Entry:
    """Moves what lies at ``place`` into the trash. Raises TrashError."""
    if not is_plain(place):
        raise TrashError(_("It is not there, or a link leads to it."))
    source, now = settings.DATA_DIR / place, datetime.now(UTC)
    name = f"{now.strftime(_STAMP)}-{uuid.uuid4().hex[:8]}"
    folder = settings.DATA_DIR / FOLDER / name
    size = measure(source)
    folder.mkdir(mode=0o700, parents=True)
    write_json_atomically(folder / "entry.json", {"place": place, "bytes": size})
    try:
        os.rename(source, folder / "content")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise TrashError(_("It could not be moved: %(error)s") % {"error": error.strerror}) from error
    return Entry(name, place, size, now, has_content=True)


def put_back(entry: Entry) -> None:
    """Moves it to where it lay; what somebody has moved who then died is as good. Raises TrashError."""
    folder = settings.DATA_DIR / FOLDER / entry.name
    target = settings.DATA_DIR / entry.place
    if entry.has_content and entry.place:
        if target.exists():
            raise TrashError(_("Something else lies at %(place)s now.") % {"place": entry.place})
        if not is_plain(str(PurePosixPath(entry.place).parent)):
            raise TrashError(_("The folder around %(place)s is not there any more.") % {"place": entry.place})
        try:
            os.rename(folder / "content", target)
        except OSError as error:
            raise TrashError(_("It could not be moved: %(error)s") % {"error": error.strerror}) from error
    elif not entry.place or not target.exists():
        raise TrashError(_("There is nothing in it."))
    shutil.rmtree(folder, ignore_errors=True)


def list_entries() -> list[Entry]:
    """The newest first; what else lies in the folder is not ours."""
    root = settings.DATA_DIR / FOLDER
    found = [
        _read_entry(root / name) for name in sorted(_list_names(root), reverse=True) if is_plain(f"{FOLDER}/{name}")
    ]
    return [entry for entry in found if entry]


def find_entry(name: str) -> Entry | None:
    """The entry of this name; None for whatever is none."""
    return next((entry for entry in list_entries() if entry.name == name), None)


def empty(*, now: datetime | None = None, may_go: Callable[[Entry], bool] = lambda _entry: True) -> list[Entry]:
    """Deletes what has lain there for long enough and ``may_go``, and gives what went."""
    gone = []
    for entry in list_entries():
        if entry.goes_at <= (now or timezone.now()) and may_go(entry):
            folder = settings.DATA_DIR / FOLDER / entry.name
            with suppress(FileNotFoundError):  # half of it must never be put back
                os.rename(folder / "content", folder / "deleted")
            shutil.rmtree(folder, ignore_errors=True)
            gone.append(entry)
    return gone


def _list_names(root: Path) -> list[str]:
    try:
        return [name for name in os.listdir(root) if _NAME.match(name)]
    except FileNotFoundError:
        return []


def _read_entry(folder: Path) -> Entry | None:
    stamp = _NAME.match(folder.name)
    try:
        told = read_json(folder / "entry.json")
        place, size = str(told["place"]), int(told["bytes"])
        taken_at = datetime.strptime(stamp[1] if stamp else "", _STAMP).replace(tzinfo=UTC)
    except FileNotFoundError:  # died before it was written, or in the midst of deleting: nothing in it can be put back
        place, size, taken_at = "", 0, datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Entry(folder.name, place, size, taken_at, has_content=(folder / "content").exists())
