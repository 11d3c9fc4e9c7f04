"""Freezing dataset versions: a rule in, immutable files with digests out.

A version counts what existed when it was frozen (``Cutoff``), so building it again after a crash gives the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from annotate.exporting.aggregate import LEFT_OUT_LABELS
from annotate.exporting.candidates import Cutoff, iterate_candidates, read_cutoff
from annotate.exporting.card import write_card
from annotate.exporting.files import JsonLinesWriter, publish_files, write_text
from annotate.exporting.lines import Line, judge_candidate, make_lines
from annotate.exporting.rule import Aggregation, DatasetRule, RuleError
from annotate.exporting.split import EVAL, TRAIN
from annotate.exporting.tally import Tally
from annotate.exporting.weigh import Weighing, weigh_votes
from annotate.models import (
    AuditAction,
    DatasetVersion,
    DatasetVersionAdjudication,
    DatasetVersionJudgment,
    Project,
)
from annotate.services.audit import record
from models_registry import depot, leases
from models_registry.models import WorkState
from models_registry.services import remove_folder

CARD_NAME = "README.md"
_ROWS_BETWEEN_LOOKS = 500


class DatasetError(ValueError):
    """There is nothing to freeze; the text says why."""


class CannotRemove(Exception):
    """Only a version that never came to be can be removed."""


@dataclass(frozen=True)
class Preview:
    """What a rule would give now: the counts, and the first rows as the file would hold them."""

    tally: Tally
    warning: str
    """Why this rule would fail as it stands; empty when it would not."""


def preview_dataset(*, project: Project, rule: DatasetRule) -> Preview:
    """Reads only. Raises RuleError."""
    _check_rule(rule)
    tally = Tally()
    cutoff = read_cutoff(project)
    for _line in _judge_all(project, cutoff, rule, tally, _weigh(project, cutoff, rule)):
        pass
    return Preview(tally, _explain_failure(tally))


def freeze_dataset(*, project: Project, rule: DatasetRule, notes: str = "", by: User) -> DatasetVersion:
    """Makes the project's next version and calls a worker to build it. Locks the project's row.

    Raises RuleError, and DatasetError for a rule that gives nothing to train on now. That is found out before anything
    is locked, since it reads every vote; should the votes change in between, the worker says the same.
    """
    if warning := preview_dataset(project=project, rule=rule).warning:
        raise DatasetError(warning)
    return _store_version(project, rule, notes, by)


@transaction.atomic
def _store_version(project: Project, rule: DatasetRule, notes: str, by: User) -> DatasetVersion:
    # The strongest lock: it waits for judgments on their way in, so that none below the cutoff appears after it.
    Project.objects.select_for_update().get(pk=project.pk)
    cutoff = read_cutoff(project)
    last = DatasetVersion.objects.filter(project=project).aggregate(last=Max("number"))["last"] or 0
    version = DatasetVersion.objects.create(
        project=project,
        number=last + 1,
        rule=rule.as_json(),
        judgment_cutoff=cutoff.judgment,
        adjudication_cutoff=cutoff.adjudication,
        counts={"comparison_cutoff": cutoff.comparison},
        notes=notes,
        created_by=by,
    )
    leases.enqueue(version)
    record(AuditAction.DATASET_FROZEN, project=project, by=by, about=version, after=version.rule)
    return version


@transaction.atomic
def cancel_dataset(*, version: DatasetVersion, by: User) -> None:
    """Ends the building of a version. Raises leases.CannotCancel."""
    if leases.request_cancel(version):
        record(AuditAction.DATASET_CANCELLED, project=version.project, by=by, about=version)


@transaction.atomic
def retry_dataset(*, version: DatasetVersion, by: User) -> None:
    """A version that failed or was cancelled is built after all. Raises leases.CannotRetry."""
    leases.retry(version)
    record(AuditAction.DATASET_RETRIED, project=version.project, by=by, about=version)


@transaction.atomic
def remove_dataset(*, version: DatasetVersion, by: User) -> None:
    """Removes a failed or cancelled version, and its number with it: the next may get that number again.

    Nothing rests on one: no file was ever offered, so no run can have learned from it. Raises CannotRemove for any
    other, above all for a finished one, which stays as it is for good. Locks the version's row.
    """
    gone = DatasetVersion.objects.filter(pk=version.pk, state__in=[WorkState.FAILED, WorkState.CANCELLED])
    if not gone.select_for_update():
        raise CannotRemove(_("Only a version that failed or was cancelled can be removed."))
    folder = version.folder
    record(AuditAction.DATASET_REMOVED, project=version.project, by=by, about=version)
    gone.delete()
    transaction.on_commit(lambda: remove_folder(folder))


def build_dataset_version(version: DatasetVersion, still_mine: Callable[[], None]) -> None:
    """Writes the files, then stores counts and votes in one transaction, under the lease.

    Raises WorkFailed (``no_rows``, ``no_train_rows``) in words, LeaseLost, and WorkCancelled.
    """
    rule = DatasetRule.from_json(version.rule)
    cutoff = Cutoff(version.judgment_cutoff, version.counts["comparison_cutoff"], version.adjudication_cutoff)
    scratch = version.attempt_folder
    tally = Tally()
    weighing = _weigh(version.project, cutoff, rule)
    train = JsonLinesWriter(scratch / version.train_path.name)
    evaluation = JsonLinesWriter(scratch / version.eval_path.name)
    try:
        with train, evaluation:
            for number, line in enumerate(_judge_all(version.project, cutoff, rule, tally, weighing)):
                (train if line.split == TRAIN else evaluation).write(line.data)
                if number % _ROWS_BETWEEN_LOOKS == 0:
                    still_mine()
        if cause := _explain_failure(tally):
            raise leases.WorkFailed("no_train_rows" if tally.total_rows else "no_rows", cause)
        card = write_card(version, rule, tally, {TRAIN: train.sha256, EVAL: evaluation.sha256}, weighing)
        write_text(scratch / CARD_NAME, card)
        still_mine()
        stored = depot.deposit(version, "files", scratch, still_mine)
        publish_files(scratch, version.folder, [version.train_path.name, version.eval_path.name, CARD_NAME])
        _store_result(version, tally, cutoff, train, evaluation, stored)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_rule(rule: DatasetRule) -> None:
    rule.check()
    known = set(User.objects.filter(pk__in=rule.left_out_labelers).values_list("pk", flat=True))
    if unknown := set(rule.left_out_labelers) - known:
        raise RuleError("left_out_labelers", _("There is no account with number %d.") % min(unknown))


def _weigh(project: Project, cutoff: Cutoff, rule: DatasetRule) -> Weighing | None:
    return weigh_votes(project, cutoff, rule) if rule.aggregation == Aggregation.WEIGHED else None


def _judge_all(
    project: Project, cutoff: Cutoff, rule: DatasetRule, tally: Tally, weighing: Weighing | None
) -> Iterator[Line]:
    """The rows in the order of the files; everything seen on the way goes into the tally."""
    candidates = iterate_candidates(
        project,
        cutoff,
        recorded=rule.aggregation == Aggregation.RECORDED,
        with_rewrites=rule.include_rewrites,
        with_reasons=rule.include_reasons,
    )
    for candidate in candidates:
        outcome = judge_candidate(candidate, rule, weighing)
        tally.add_outcome(outcome)
        for line in make_lines(candidate, outcome, rule):
            tally.add_line(line)
            yield line


def _explain_failure(tally: Tally) -> str:
    """Why these counts make no dataset, in words; empty when they do."""
    if not tally.comparisons:
        return _("This project has no comparisons yet, so there is nothing to freeze.")
    if not tally.total_rows:
        reasons = [f"{count} × {LEFT_OUT_LABELS[reason]}" for reason, count in tally.left_out.most_common()]
        return _("No row comes of this rule. Left out: %s.") % ", ".join(reasons)
    if not tally.rows[TRAIN]:
        return _(
            "All %(rows)d rows fall into the evaluation part, because they come of only %(prompts)d prompts. "
            "Lower the share for evaluation or choose another seed."
        ) % {"rows": tally.total_rows, "prompts": len(tally.prompts[EVAL])}
    return ""


@transaction.atomic
def _store_result(
    version: DatasetVersion,
    tally: Tally,
    cutoff: Cutoff,
    train: JsonLinesWriter,
    evaluation: JsonLinesWriter,
    stored: dict[str, Any],
) -> None:
    uses = (
        DatasetVersionJudgment(dataset_version=version, judgment_id=judgment_id, split=split)
        for split, judgment_ids in tally.judgments.items()
        for judgment_id in judgment_ids
    )
    DatasetVersionJudgment.objects.bulk_create(uses, batch_size=1000)
    rulings = (
        DatasetVersionAdjudication(dataset_version=version, adjudication_id=adjudication_id, split=split)
        for split, adjudication_ids in tally.adjudications.items()
        for adjudication_id in adjudication_ids
    )
    DatasetVersionAdjudication.objects.bulk_create(rulings, batch_size=1000)
    leases.finish(
        version,
        train_rows=tally.rows[TRAIN],
        eval_rows=tally.rows[EVAL],
        train_sha256=train.sha256,
        eval_sha256=evaluation.sha256,
        counts=tally.as_json() | {"comparison_cutoff": cutoff.comparison} | stored,
        left_out=dict(tally.left_out.most_common()),
        message="",
    )
