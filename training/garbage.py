"""The collection of garbage: which files below DATA_DIR nothing needs any more, and taking them away.

Looked at are the folders of models and of work in the background, by their numbers; whatever else lies in DATA_DIR is
left alone. Everything is judged twice: for the list, and again under the lock of its row before it is moved, so that
what was begun in between keeps its files. Rows stay. What is taken goes to the trash first, see trash.py.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from annotate.models import DatasetVersion, Import, SamplingJob, ScoringJob
from models_registry.leases import list_work_models
from models_registry.models import LeasedWork, ModelEvent, ModelImport, ModelVersion, WorkState
from models_registry.store import StoreError, open_store, remove_folder
from training import trash
from training.models import ModelPush, Run, RunShare, TokenPreview
from training.needs import OVER, find_needs

log = logging.getLogger(__name__)

MODELS = "models"
STRAY_AFTER_S = 24 * 3600
"""A folder is there before the row that it belongs to is committed; a day later no transaction is under way."""

KEPT_CHECKPOINTS = 2
"""Of a run that may be taken up again: the newest attempts with checkpoints keep them."""

_UPLOAD = ".incoming-"


@dataclass(frozen=True)
class Thing:
    """A file or folder at ``place`` below DATA_DIR, what it belongs to, and why it goes or stays."""

    place: str
    owner: str
    reason: str
    bytes: int = 0
    model: int | None = None
    """The number of the model whose weights it holds."""


@dataclass(frozen=True)
class Plan:
    """What would go now, and what stays and why; both by place."""

    goes: list[Thing] = field(default_factory=list)
    stays: list[Thing] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(thing.bytes for thing in self.goes)

    @property
    def kept_bytes(self) -> int:
        return sum(thing.bytes for thing in self.stays)


@dataclass(frozen=True)
class Collected:
    """What was moved to the trash, what was needed again or could not be moved, and what left the trash for good."""

    taken: list[Thing] = field(default_factory=list)
    spared: list[Thing] = field(default_factory=list)
    emptied: list[trash.Entry] = field(default_factory=list)


@dataclass(frozen=True)
class _Verdict:
    """``goes`` names parts of a folder with the reasons why they go; the empty name is the whole of it."""

    stays: str
    goes: Mapping[str, str] = field(default_factory=dict)


def make_plan() -> Plan:
    """Reads only. The same few queries for each kind of work, however many rows there are."""
    plan = Plan()
    for thing, goes in [*_judge_models(_list_numbered(MODELS)), *_judge_all_work()]:
        (plan.goes if goes else plan.stays).append(thing)
    return plan


def collect(*, by: User | None) -> Collected:
    """Moves to the trash what nothing needs, and deletes what lay there for long enough. Raises trash.TrashError.

    Locks one row at a time.
    """
    done = Collected()
    with trash.hold_files():
        done.emptied.extend(trash.empty(may_go=forget_stored))
        for thing in make_plan().goes:
            try:
                taken = _take(thing, by)
            except trash.TrashError as error:
                log.warning("%s stays: %s", thing.place, error)
                done.spared.append(Thing(thing.place, thing.owner, str(error), thing.bytes, thing.model))
                continue
            (done.taken if taken else done.spared).append(thing)
    for thing in done.taken:
        log.info("%s went to the trash: %s bytes, %s", thing.place, thing.bytes, thing.owner)
    return done


def put_back(entry: trash.Entry, *, by: User | None) -> None:
    """Undoes a collection, as long as the trash holds the thing. Locks the model's row. Raises trash.TrashError."""
    folder, _slash, number = entry.place.partition("/")
    with trash.hold_files(), transaction.atomic():
        trash.put_back(entry)
        if folder == MODELS and number.isdecimal():
            model = ModelVersion.objects.select_for_update().filter(pk=int(number))
            if model.exclude(weights_removed_at=None).update(weights_removed_at=None):
                _note(int(number), ModelEvent.Action.WEIGHTS_RESTORED, by)


# -- Taking away ------------------------------------------------------------------------------------------------------


def _take(thing: Thing, by: User | None) -> bool:
    """False when something needs it after all. Raises trash.TrashError."""
    folder, number = thing.place.split("/")[:2]
    if folder == MODELS:
        return _take_model(thing, int(number), by)
    if not number.isdecimal():
        trash.take(thing.place)
        return True
    model = _find_work_model(folder)
    with transaction.atomic():  # under the lock nobody takes the work up again while its folder is moved
        rows = {row.pk: row for row in _read_work(model).filter(pk=int(number)).select_for_update(of=("self",))}
        if thing.place not in {judged.place for judged, goes in _judge_work(model, [int(number)], rows) if goes}:
            return False
        trash.take(thing.place)
    return True


def _take_model(thing: Thing, number: int, by: User | None) -> bool:
    """The row says first that the weights are gone: from then on nothing begins with them. Then they are moved."""
    with transaction.atomic():
        row = ModelVersion.objects.select_for_update().filter(pk=number).first()
        if not any(goes for _thing, goes in _judge_models([number])):
            return False
        if row is not None and row.weights_removed_at is None:
            ModelVersion.objects.filter(pk=number).update(weights_removed_at=Now())
            _note(number, ModelEvent.Action.WEIGHTS_REMOVED, by)
    trash.take(thing.place)
    return True


def _note(number: int, action: ModelEvent.Action, by: User | None) -> None:
    ModelEvent.objects.create(model_id=number, action=action, by=by)


def forget_stored(entry: trash.Entry) -> bool:
    """Weights leave the object store when they leave the trash; False where it does not answer, so that both stay."""
    folder, _slash, number = entry.place.partition("/")
    store = open_store()
    if store is None or folder != MODELS or not number.isdecimal():
        return True
    gone = ModelVersion.objects.filter(pk=int(number)).exclude(weights_removed_at=None).first()
    stored = gone.facts.get("stored") if gone else None
    try:
        if stored:
            remove_folder(store, stored["key"])
    except StoreError as error:
        log.warning("%s stays in the trash: %s", entry.place, error)
        return False
    return True


# -- Judging ----------------------------------------------------------------------------------------------------------


def _judge_models(numbers: list[int]) -> Iterator[tuple[Thing, bool]]:
    rows = ModelVersion.objects.in_bulk(numbers)
    needs = find_needs([pk for pk, model in rows.items() if model.archived_at and not model.weights_removed_at])
    for number in numbers:
        place, model = f"{MODELS}/{number}", rows.get(number)
        name = model.name if model else _("model %(number)d") % {"number": number}
        if model is None:
            yield _judge_stray(place, name)
        elif model.weights_removed_at:
            yield _describe(place, name, _("Its weights count as removed."), number), True
        elif not model.archived_at:
            yield _describe(place, name, _("It is not archived."), number), False
        elif model.ready_at is None or needs[number]:
            words = " ".join(needs[number]) or _("It was not finished.")
            yield _describe(place, name, words, number), False
        else:
            yield _describe(place, name, _("It is archived and nothing needs its weights."), number), True


def _judge_all_work() -> Iterator[tuple[Thing, bool]]:
    for model in list_work_models():
        numbers = _list_numbered(model.folder_name)
        yield from _judge_work(model, numbers, _read_work(model).in_bulk(numbers))
    for name in sorted(_list_names(Import.folder_name)):
        if name.startswith(_UPLOAD):
            yield _judge_stray(f"{Import.folder_name}/{name}", _("an upload that broke off"))


def _judge_work(model: type[LeasedWork], numbers: list[int], rows: Mapping[int, Any]) -> Iterator[tuple[Thing, bool]]:
    for number in numbers:
        place, row = f"{model.folder_name}/{number}", rows.get(number)
        if row is None:
            yield _judge_stray(place, f"{model._meta.verbose_name} {number}")
            continue
        owner = f"{model._meta.verbose_name} {number}: {row}"
        verdict = _judge_row(row, place)
        gone = 0
        for part, reason in verdict.goes.items():
            thing = _describe("/".join(filter(None, [place, part])), owner, reason)
            if trash.is_plain(thing.place):
                gone += thing.bytes
                yield thing, True
        if "" not in verdict.goes:
            whole = _describe(place, owner, verdict.stays)
            yield Thing(place, owner, verdict.stays, max(0, whole.bytes - gone)), False


def _judge_row(row: Any, place: str) -> _Verdict:
    if row.state not in OVER:
        return _Verdict(_("It waits, runs or is paused."))
    judge = _JUDGES.get(type(row))
    return judge(row, place) if judge else _Verdict(_("Nothing is known about what it leaves."))


def _judge_run(run: Run, place: str) -> _Verdict:
    attempts = _list_attempts(place)
    if run.state == WorkState.FINISHED:
        goes = {f"attempt-{epoch}": _("The run is finished.") for epoch in attempts if epoch != run.epoch}
        if run.epoch in attempts:
            goes[f"attempt-{run.epoch}/checkpoints"] = _("The run is finished; its model is registered.")
        return _Verdict(_("Its log, settings and figures."), goes)
    saved = [epoch for epoch in attempts if _has_checkpoints(f"{place}/attempt-{epoch}")]
    if run.archived_at:
        words = _("The run is archived and not finished.")
        return _Verdict(_("Its logs."), {f"attempt-{epoch}/checkpoints": words for epoch in saved})
    words = _("Later attempts have checkpoints of their own.")
    superseded = {f"attempt-{epoch}/checkpoints": words for epoch in saved[:-KEPT_CHECKPOINTS]}
    return _Verdict(_("It may be taken up again."), superseded)


def _judge_share(_row: RunShare, _place: str) -> _Verdict:
    """What a worker left that was lost: nobody takes up a part of an attempt again."""
    return _Verdict("", {"": _("It is over.")})


def _judge_scratch(row: LeasedWork, _place: str) -> _Verdict:
    """What leaves nothing behind once it is finished: its results are in the database or in a folder of their own."""
    if row.state == WorkState.FINISHED:
        return _Verdict("", {"": _("It is finished, and its results were filed.")})
    return _Verdict(_("It may be tried again."))


def _judge_model_import(row: ModelImport, place: str) -> _Verdict:
    if row.state != WorkState.FINISHED and row.model.archived_at:
        return _Verdict("", {"": _("Its model is archived and never became ready.")})
    return _judge_scratch(row, place)


def _judge_attempts(row: LeasedWork, place: str) -> _Verdict:
    """What keeps its files beside its attempts: uploads, the files of dataset versions."""
    goes = {f"attempt-{epoch}": _("It is over.") for epoch in _list_attempts(place)}
    return _Verdict(_("The files of a dataset version or an import are kept."), goes)


_JUDGES: dict[type[LeasedWork], Callable[[Any, str], _Verdict]] = {
    Run: _judge_run,
    RunShare: _judge_share,
    TokenPreview: _judge_scratch,
    SamplingJob: _judge_scratch,
    ScoringJob: _judge_scratch,
    ModelImport: _judge_model_import,
    ModelPush: _judge_scratch,
    Import: _judge_attempts,
    DatasetVersion: _judge_attempts,
}
"""A kind of work that is not here keeps all that it has."""


def _judge_stray(place: str, owner: str) -> tuple[Thing, bool]:
    """What no row knows goes after a day."""
    try:
        status = os.lstat(settings.DATA_DIR / place)
        is_old = time.time() - max(status.st_mtime, status.st_ctime) > STRAY_AFTER_S
    except FileNotFoundError:
        is_old = False
    if not is_old:
        return _describe(place, owner, _("No row knows it yet; it is younger than a day.")), False
    return _describe(place, owner, _("No row knows it.")), True


def _describe(place: str, owner: str, reason: str, model: int | None = None) -> Thing:
    return Thing(place, owner, reason, trash.measure(settings.DATA_DIR / place), model)


# -- Looking ----------------------------------------------------------------------------------------------------------


def _read_work(model: type[LeasedWork]) -> Any:
    related = {DatasetVersion: "project", ModelImport: "model", RunShare: "run"}.get(model)
    rows = model._default_manager.defer("log_tail")
    return rows.select_related(related) if related else rows


def _find_work_model(folder: str) -> type[LeasedWork]:
    return next(model for model in list_work_models() if model.folder_name == folder)


def _list_names(place: str) -> Iterable[str]:
    if not trash.is_plain(place):
        return []
    names = os.listdir(settings.DATA_DIR / place)
    return [name for name in names if trash.is_plain(f"{place}/{name}")]


def _list_numbered(place: str) -> list[int]:
    """The folders named by a number alone; a name such as 007 was never ours."""
    folders = [name for name in _list_names(place) if (settings.DATA_DIR / place / name).is_dir()]
    return sorted(int(name) for name in folders if name.isascii() and name.isdecimal() and str(int(name)) == name)


def _list_attempts(place: str) -> list[int]:
    named = [name.partition("attempt-") for name in _list_names(place)]
    return sorted(int(number) for before, found, number in named if found and not before and number.isdecimal())


def _has_checkpoints(place: str) -> bool:
    folder = Path(settings.DATA_DIR) / place / "checkpoints"
    return trash.is_plain(f"{place}/checkpoints") and any(folder.glob("step-*"))
