"""Bringing files in: the upload is stored and digested first, then a worker checks it and enters its rows.

A file is read in two passes. The first checks every line without holding the database and writes good rows to a spool;
the second enters them in one transaction, so that either all of them are there or none, and labelers wait no longer
than the inserting takes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files import File
from django.db import connection, transaction
from django.utils.translation import gettext as _

from annotate.exporting.files import open_private
from annotate.importing.lines import MAX_FILE_BYTES
from annotate.importing.problems import FileProblem, show_text
from annotate.importing.reader import read_rows
from annotate.importing.report import Report
from annotate.importing.rows import PairRow, Row, key_pair
from annotate.models import AuditAction, Comparison, Import, Project, Prompt
from annotate.services.audit import record
from annotate.services.comparisons import NewComparison, NewResponse, create_comparisons, explain_axis
from annotate.services.prompts import get_or_create_prompts
from models_registry import leases

UPLOAD_NAME = "upload"
MAX_ROWS_SQLITE = 50_000
"""SQLite has one writer at a time, and a labeler's answer waits 20 s for its turn; this many rows take about 15 s."""

_BATCH = 500
_LINES_BETWEEN_LOOKS = 1000
_STRAY_AFTER_S = 24 * 3600


class ImportRefused(ValueError):
    """This file is not even stored; the text says why."""


def start_import(*, project: Project, format: str, on_bad_line: str, uploaded_file: File[Any], by: User) -> Import:
    """Stores the file (``DATA_DIR/imports/<id>/upload``, 0600) with its SHA-256, and calls a worker.

    Raises ImportRefused for a file beyond the cap or an empty one, and for an axis.
    """
    if project.parent_id:
        raise ImportRefused(explain_axis())
    incoming = Path(settings.DATA_DIR) / Import.folder_name / f".incoming-{uuid.uuid4().hex}"
    _remove_strays(incoming.parent)
    try:
        size, sha256 = _store_upload(uploaded_file, incoming)
        with transaction.atomic():
            work = Import.objects.create(
                project=project,
                format=format,
                on_bad_line=on_bad_line,
                file_name=show_text(Path(uploaded_file.name or "").name or "upload", 190),
                bytes=size,
                sha256=sha256,
                created_by=by,
            )
            work.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.replace(incoming, work.folder / UPLOAD_NAME)
            leases.enqueue(work)
            what = {"format": format, "sha256": sha256}
            record(AuditAction.IMPORT_STARTED, project=project, by=by, about=work, after=what)
    finally:
        incoming.unlink(missing_ok=True)
    return work


@transaction.atomic
def cancel_import(*, work: Import, by: User) -> None:
    """Ends an import of which nothing has entered yet. Raises leases.CannotCancel."""
    leases.request_cancel(work)
    record(AuditAction.IMPORT_CANCELLED, project=work.project, by=by, about=work)


def perform_import(work: Import, still_mine: Callable[[], None]) -> None:
    """Checks the file, then enters its rows in one transaction under the lease. The report is stored either way.

    Raises WorkFailed in words where nothing enters, LeaseLost, and WorkCancelled.
    """
    report = Report()
    spool = work.attempt_folder / "rows.jsonl"
    try:
        try:
            _check_lines(work, report, spool, still_mine)
            _check_outcome(work, report)
        except FileProblem as problem:
            report.set_file_problem(problem)
            leases.extend(work, report=report.as_json(), step=report.lines)
            raise leases.WorkFailed(problem.code, problem.reason) from None
        with transaction.atomic():
            _enter_rows(work, report, spool, still_mine)
            leases.finish(work, report=report.as_json(), step=report.lines, total_steps=report.lines, message="")
    finally:
        shutil.rmtree(work.attempt_folder, ignore_errors=True)


# -- The upload -------------------------------------------------------------------------------------------------------


def _store_upload(uploaded_file: File[Any], target: Path) -> tuple[int, str]:
    digest = hashlib.sha256()
    size = 0
    with open_private(target) as stored:
        for chunk in uploaded_file.chunks():
            size += len(chunk)
            if size > MAX_FILE_BYTES:
                raise ImportRefused(_("The file is larger than %d MB.") % (MAX_FILE_BYTES // 1_000_000))
            digest.update(chunk)
            stored.write(chunk)
        stored.flush()
        os.fsync(stored.fileno())
    if not size:
        raise ImportRefused(_("The file is empty."))
    return size, digest.hexdigest()


def _remove_strays(folder: Path) -> None:
    """Uploads whose process died before their row was made."""
    for stray in folder.glob(".incoming-*"):
        if time.time() - stray.stat().st_mtime > _STRAY_AFTER_S:
            stray.unlink(missing_ok=True)


# -- First pass: every line, no database ------------------------------------------------------------------------------


def _check_lines(work: Import, report: Report, spool: Path, still_mine: Callable[[], None]) -> None:
    rows = 0
    with open_private(spool) as file:
        for number, row in read_rows(work.folder / UPLOAD_NAME, work.format, report):
            file.write(_dump_row(number, row))
            rows += 1
            if rows > MAX_ROWS_SQLITE and connection.vendor == "sqlite":
                raise FileProblem(
                    "too_many_rows", _("The file holds more than %d rows. Split it into several.") % MAX_ROWS_SQLITE
                )
            if report.good_lines % _LINES_BETWEEN_LOOKS == 0:
                still_mine()
                leases.extend(work, step=report.lines)


def _check_outcome(work: Import, report: Report) -> None:
    """Raises FileProblem where nothing may enter."""
    if report.bad_lines and work.on_bad_line == Import.OnBadLine.REJECT:
        first = report.listed[0]
        raise FileProblem(
            "bad_lines",
            _("%(bad)d of %(all)d lines are bad, so nothing was imported. The first: line %(line)d. %(reason)s")
            % {"bad": report.bad_lines, "all": report.lines, "line": first["line"], "reason": first["reason"]},
        )
    if not report.good_lines:
        raise FileProblem("no_rows", _("The file holds no line that can be imported."))


def _dump_row(line: int, row: Row) -> bytes:
    sides = [row.first, row.second, row.winner] if isinstance(row, PairRow) else []
    return orjson.dumps([line, row.source_id, row.messages, *sides], option=orjson.OPT_APPEND_NEWLINE)


# -- Second pass: one transaction -------------------------------------------------------------------------------------


def _enter_rows(work: Import, report: Report, spool: Path, still_mine: Callable[[], None]) -> None:
    """Locks the project's row, so that two imports of one file at a time do not double its rows."""
    project = Project.objects.select_for_update(no_key=True).get(pk=work.project_id)
    prompts_before = project.prompts.count()
    enter = _enter_prompts if work.format == Import.Format.PROMPTS else _enter_pairs
    with spool.open("rb") as file:
        while batch := [orjson.loads(line) for line in islice(file, _BATCH)]:
            still_mine()
            entered = enter(project, work, batch)
            report.imported += entered
            report.duplicates_in_project += len(batch) - entered
    report.new_prompts = project.prompts.count() - prompts_before


def _enter_prompts(project: Project, work: Import, batch: list[Any]) -> int:
    before = project.prompts.count()
    get_or_create_prompts(project=project, dialogues=[messages for _line, _id, messages in batch])
    return project.prompts.count() - before


def _enter_pairs(project: Project, work: Import, batch: list[Any]) -> int:
    prompts = get_or_create_prompts(project=project, dialogues=[row[2] for row in batch])
    known = _find_known_keys(project, prompts)
    new = [
        _make_pair(work, prompt, *row)
        for prompt, row in zip(prompts, batch, strict=True)
        if key_pair(prompt.digest, row[3], row[4]) not in known
    ]
    create_comparisons(project=project, new=new, source_import=work)
    return len(new)


def _find_known_keys(project: Project, prompts: list[Prompt]) -> set[bytes]:
    pairs = Comparison.objects.filter(project=project, prompt__in=prompts)
    return {key_pair(*texts) for texts in pairs.values_list("prompt__digest", "response_a__text", "response_b__text")}


def _make_pair(
    work: Import, prompt: Prompt, line: int, source_id: str, _messages: Any, first: str, second: str, winner: str
) -> NewComparison:
    """Which response becomes ``a`` is a coin's choice, drawn from file and line: the winner cannot be told from it."""
    origin = f"import {work.pk}, line {line}" + (f", id {source_id}" if source_id else "")
    responses = [NewResponse(first, origin=origin), NewResponse(second, origin=origin)]
    if hashlib.sha256(f"{work.sha256}:{line}".encode()).digest()[0] & 1:
        responses.reverse()
        winner = {"a": "b", "b": "a", "": ""}[winner]
    return NewComparison(prompt, responses[0], responses[1], recorded_winner=winner)
