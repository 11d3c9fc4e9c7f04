"""Bringing files in: the upload is stored and digested first, then a worker checks it and enters its rows.

A file is read in two passes. The first checks every line without holding the database and writes good rows to a spool;
the second enters them in one transaction, so that either all of them are there or none, and labelers wait no longer
than the inserting takes.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.files import File
from django.db import connection, transaction
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.exporting.files import open_private
from annotate.importing.lines import MAX_FILE_BYTES
from annotate.importing.problems import FileProblem, show_text
from annotate.importing.reader import read_rows
from annotate.importing.report import Report
from annotate.models import AuditAction, Import, Project
from annotate.services.audit import record
from annotate.services.comparisons import explain_axis
from annotate.services.gold import GoldError
from annotate.services.import_rows import check_for_project, count_writes, dump_row, enter_rows
from annotate.services.worker_votes import VotesRefused
from models_registry import depot, leases
from models_registry.store import StoreError, get_file, open_store

log = logging.getLogger(__name__)

UPLOAD_NAME = "upload"
MAX_ROWS_SQLITE = 50_000
"""SQLite has one writer at a time, and a labeler's answer waits 20 s for its turn, then is sent again by its page; this
many rows take about 15 s, on a slow machine twice that."""

_LINES_BETWEEN_LOOKS = 1000
_STRAY_AFTER_S = 24 * 3600


class ImportRefused(ValueError):
    """This file is not even stored; the text says why."""


def start_import(*, project: Project, format: str, on_bad_line: str, uploaded_file: File[Any], by: User) -> Import:
    """Stores the file (``DATA_DIR/imports/<id>/upload``, 0600) with its SHA-256, and calls a worker.

    Raises ImportRefused for a file beyond the cap or an empty one, for an axis, and while the object store is away.
    """
    if project.parent_id:
        raise ImportRefused(explain_axis())
    incoming = Path(settings.DATA_DIR) / Import.folder_name / f".incoming-{uuid.uuid4().hex}"
    _remove_strays(incoming.parent)
    try:
        size, sha256 = _store_upload(uploaded_file, incoming)
        _share_upload(incoming, sha256)
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
    if leases.request_cancel(work):
        record(AuditAction.IMPORT_CANCELLED, project=work.project, by=by, about=work)


@transaction.atomic
def retry_import(*, work: Import, by: User) -> None:
    """An import that failed or was cancelled waits for a worker again. Raises leases.CannotRetry."""
    leases.retry(work)
    record(AuditAction.IMPORT_RETRIED, project=work.project, by=by, about=work)


def perform_import(work: Import, still_mine: Callable[[], None]) -> None:
    """Checks the file, then enters its rows in one transaction under the lease. The report is stored either way.

    Raises WorkFailed in words where nothing enters, LeaseLost, and WorkCancelled.
    """
    if (store := open_store()) is not None and not (work.folder / UPLOAD_NAME).exists():
        fetch = partial(get_file, store, _name_shared(work.sha256), work.folder / UPLOAD_NAME, work.sha256)
        depot.insist(work, fetch, still_mine)
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
            enter_rows(work=work, report=report, spool=spool, still_mine=still_mine)
            leases.finish(work, report=report.as_json(), step=report.lines, total_steps=report.lines, message="")
    except (GoldError, VotesRefused) as error:
        raise leases.WorkFailed("changed_meanwhile", str(error)) from error
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


def _share_upload(path: Path, sha256: str) -> None:
    """The worker that takes it up may be another machine."""
    try:
        if (store := open_store()) is not None:
            store.put(_name_shared(sha256), path)
    except StoreError as error:
        log.warning("An upload could not be stored: %s", error)
        raise ImportRefused(_("The object store does not answer. Try again later.")) from error


def _name_shared(sha256: str) -> str:
    return f"{Import.folder_name}/{sha256}"


def _remove_strays(folder: Path) -> None:
    """Uploads whose process died before their row was made."""
    for stray in folder.glob(".incoming-*"):
        if time.time() - stray.stat().st_mtime > _STRAY_AFTER_S:
            stray.unlink(missing_ok=True)


# -- First pass: every line, no database ------------------------------------------------------------------------------


def _check_lines(work: Import, report: Report, spool: Path, still_mine: Callable[[], None]) -> None:
    writes = 0
    check = check_for_project(work.project, work.format)
    with open_private(spool) as file:
        for number, row in read_rows(work.folder / UPLOAD_NAME, work.format, report, check):
            file.write(dump_row(number, row))
            writes += count_writes(row)
            if writes > MAX_ROWS_SQLITE and connection.vendor == "sqlite":
                raise FileProblem("too_many_rows", _explain_too_many(work.format))
            if report.good_lines % _LINES_BETWEEN_LOOKS == 0:
                still_mine()
                leases.extend(work, step=report.lines)


def _check_outcome(work: Import, report: Report) -> None:
    """Raises FileProblem where nothing may enter."""
    if report.bad_lines and work.on_bad_line == Import.OnBadLine.REJECT:
        first = report.listed[0]
        raise FileProblem(
            "bad_lines",
            ngettext(
                "%(bad)d of %(all)d lines is bad, so nothing was imported: line %(line)d. %(reason)s",
                "%(bad)d of %(all)d lines are bad, so nothing was imported. The first: line %(line)d. %(reason)s",
                report.bad_lines,
            )
            % {"bad": report.bad_lines, "all": report.lines, "line": first["line"], "reason": first["reason"]},
        )
    if not report.good_lines:
        raise FileProblem("no_rows", _("The file holds no line that can be imported."))


def _explain_too_many(format: str) -> str:
    if format == Import.Format.VOTES:
        return _("The file holds more than %d pairs and votes together. Split it into several.") % MAX_ROWS_SQLITE
    return _("The file holds more than %d rows (a known answer is one more). Split it into several.") % MAX_ROWS_SQLITE
