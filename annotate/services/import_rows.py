"""Rows of an import on their way into the project: what only the project can say of them, and the entering itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import astuple
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from annotate.importing.problems import LineProblem
from annotate.importing.report import Report
from annotate.importing.rows import KnownAnswer, PairRow, Row, WorkerVote, key_pair
from annotate.models import Comparison, GoldAnswer, Import, Project, Prompt
from annotate.services.comparisons import NewComparison, NewResponse, create_comparisons
from annotate.services.gold import make_new_gold
from annotate.services.identity import load_finder
from annotate.services.prompts import get_or_create_prompts
from annotate.services.worker_votes import PREFIX, enter_votes, list_taken_names

_BATCH = 500
_OTHER = {"a": "b", "b": "a", "": ""}


class SpooledPair(NamedTuple):
    """A pair as it lies in the spool; ``gold`` and ``votes`` are the values of KnownAnswer and WorkerVote."""

    line: int
    source_id: str
    messages: list[dict[str, str]]
    first: str
    second: str
    winner: str
    gold: list[str] | None
    votes: list[list[str]]


def dump_row(line: int, row: Row) -> bytes:
    """A line of the spool."""
    data: list[Any] = [line, row.source_id, row.messages]
    if isinstance(row, PairRow):
        data += [row.first, row.second, row.winner, row.gold and astuple(row.gold), [astuple(v) for v in row.votes]]
    return orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE)


def count_writes(row: Row) -> int:
    """What a row weighs where the database can take only so much at once: one, and one more for gold and each vote."""
    return 1 + bool(row.gold) + len(row.votes) if isinstance(row, PairRow) else 1


def check_for_project(project: Project, format: str) -> Callable[[Row], None]:
    """Says of a row why this project cannot take it, by LineProblem. Reads what it needs to know at once."""
    offered = {choice.grade.value for choice in project.choices}
    finder = load_finder() if project.holds_identity_leaks else None
    taken_names = list_taken_names() if format == Import.Format.VOTES else set()

    def check(row: Row) -> None:
        if not isinstance(row, PairRow):
            return
        for number, vote in enumerate(row.votes):
            if vote.worker in taken_names:
                reason = f"{PREFIX}{vote.worker} is the account of a person; votes are not put into their name."
                raise LineProblem("worker_is_person", reason, f"votes[{number}].worker")
        if row.gold and row.gold.grade not in offered:
            words = f"This project does not offer the answer {row.gold.grade}; it has {', '.join(sorted(offered))}."
            raise LineProblem("not_offered", words, "gold.grade")
        if row.gold and finder and (finder.find(row.first) or finder.find(row.second)):
            words = "A response names its model or maker: this project holds such a pair back, and it cannot be gold."
            raise LineProblem("gold_leaks", words, "gold")

    return check


def enter_rows(*, work: Import, report: Report, spool: Path, still_mine: Callable[[], None]) -> None:
    """Enters the spool in the caller's transaction and counts it in the report. Raises GoldError and VotesRefused where
    the project or an account changed since the check.

    Locks the project's row, so that two imports of one file at a time do not double its rows.
    """
    project = Project.objects.select_for_update(no_key=True).get(pk=work.project_id)
    prompts_before = project.prompts.count()
    workers: dict[str, int] = {}
    with spool.open("rb") as file:
        while batch := [orjson.loads(line) for line in islice(file, _BATCH)]:
            still_mine()
            if work.format == Import.Format.PROMPTS:
                entered = _enter_prompts(project, batch)
            else:
                entered = _enter_pairs(project, work, report, [SpooledPair(*row) for row in batch], workers)
            report.imported += entered
            report.duplicates_in_project += len(batch) - entered
    report.new_prompts = project.prompts.count() - prompts_before
    report.workers = len(workers)


def _enter_prompts(project: Project, batch: list[Any]) -> int:
    before = project.prompts.count()
    get_or_create_prompts(project=project, dialogues=[messages for _line, _id, messages in batch])
    return project.prompts.count() - before


def _enter_pairs(
    project: Project, work: Import, report: Report, batch: Sequence[SpooledPair], workers: dict[str, int]
) -> int:
    prompts = get_or_create_prompts(project=project, dialogues=[pair.messages for pair in batch])
    known = _find_known(project, prompts)
    new: list[tuple[Prompt, SpooledPair]] = []
    for prompt, pair in zip(prompts, batch, strict=True):
        key = key_pair(prompt.digest, pair.first, pair.second)
        if key not in known:
            new.append((prompt, _toss(work, pair)))
        elif pair.gold:
            report.add_standing_gold(pair.line, is_same=known[key] == _name_gold(*pair[3:5], *pair.gold[:2]))
    comparisons = create_comparisons(
        project=project,
        new=[_make_pair(work, prompt, pair) for prompt, pair in new],
        source_import=work,
        may_hold=work.format != Import.Format.VOTES,  # nobody is left to be kept from a pair that is judged already
    )
    pairs = list(zip(comparisons, [pair for _prompt, pair in new], strict=True))
    answers = [_build_gold(comparison, KnownAnswer(*pair.gold)) for comparison, pair in pairs if pair.gold]
    make_new_gold(project=project, answers=answers, by=work.created_by)
    report.gold += len(answers)
    voted = [(comparison, [WorkerVote(*vote) for vote in pair.votes]) for comparison, pair in pairs if pair.votes]
    report.votes += enter_votes(voted=voted, workers=workers)
    return len(comparisons)


def _find_known(project: Project, prompts: list[Prompt]) -> dict[bytes, tuple[str, str] | None]:
    """The pairs that the project has to these prompts, each with its known answer where it is gold."""
    pairs = Comparison.objects.filter(project=project, prompt__in=prompts)
    columns = ("prompt__digest", "response_a__text", "response_b__text", "gold__winner", "gold__grade")
    known: dict[bytes, tuple[str, str] | None] = {}
    for digest, first, second, winner, grade in pairs.values_list(*columns):
        key = key_pair(digest, first, second)
        known[key] = _name_gold(first, second, winner, grade) if grade else known.get(key)
    return known


def _name_gold(first: str, second: str, winner: str, grade: str) -> tuple[str, str]:
    """A known answer, whichever response stands first."""
    return {"a": first, "b": second, "": ""}[winner], grade


def _toss(work: Import, pair: SpooledPair) -> SpooledPair:
    """Which response becomes ``a`` is a coin's choice, drawn from file and line: the winner cannot be told from it.

    Pairs that are judged already stay as they are, so that their votes are those of the file.
    """
    if pair.votes or not hashlib.sha256(f"{work.sha256}:{pair.line}".encode()).digest()[0] & 1:
        return pair
    gold = pair.gold and [_OTHER[pair.gold[0]], *pair.gold[1:]]
    return pair._replace(first=pair.second, second=pair.first, winner=_OTHER[pair.winner], gold=gold)


def _make_pair(work: Import, prompt: Prompt, pair: SpooledPair) -> NewComparison:
    origin = f"import {work.pk}, line {pair.line}" + (f", id {pair.source_id}" if pair.source_id else "")
    first, second = NewResponse(pair.first, origin=origin), NewResponse(pair.second, origin=origin)
    return NewComparison(prompt, first, second, recorded_winner=pair.winner, need=len(pair.votes) or None)


def _build_gold(comparison: Comparison, answer: KnownAnswer) -> GoldAnswer:
    return GoldAnswer(comparison=comparison, winner=answer.winner, grade=answer.grade, explanation=answer.explanation)
