"""From a file to rows: lines, JSON, format, and the report of it all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from annotate.importing.hh_rlhf import parse_hh_rlhf
from annotate.importing.lines import MAX_LINE_BYTES, read_lines, strip_mark
from annotate.importing.pairs import parse_pair
from annotate.importing.problems import LineProblem
from annotate.importing.prompts import parse_prompt
from annotate.importing.report import Report
from annotate.importing.rows import PairRow, Row
from annotate.importing.strict_json import parse_object
from annotate.importing.votes import parse_voted_pair

PARSERS: dict[str, Callable[[dict[str, Any]], Row]] = {
    "pairs": parse_pair,
    "hh-rlhf": parse_hh_rlhf,
    "prompts": parse_prompt,
    "votes": parse_voted_pair,
}
"""Format, as in ``Import.Format``: what turns an object into a row."""


def accept(_row: Row) -> None:
    """Every row."""


def read_rows(
    path: Path, format: str, report: Report, check: Callable[[Row], None] = accept
) -> Iterator[tuple[int, Row]]:
    """Yields (line number, row) for each good line, without repeats, and fills the report as it goes.

    ``check`` raises LineProblem for a row that is good in itself and yet cannot enter. Memory grows by some 100 bytes a
    line (keys and ids seen), never by the texts. Raises FileProblem.
    """
    parse = PARSERS[format]
    seen_keys: set[bytes] = set()
    claims: dict[bytes, bytes] = {}
    lines_of_ids: dict[bytes, int] = {}
    for number, line in read_lines(path):
        report.lines = number
        if number == 1 and line is not None:
            line, had_mark = strip_mark(line)
            report.notes.update(["byte_order_mark"] if had_mark else [])
        if line is not None and not line.strip():
            report.blank_lines += 1
            continue
        try:
            row = _parse_line(line, parse)
            _check_id(row.source_id, number, lines_of_ids)
            check(row)
            key = row.key
            _check_claim(row, key, seen_keys, claims)
        except LineProblem as problem:
            report.add_problem(number, problem)
            continue
        _count_row(row, report)
        if key in seen_keys:
            report.duplicates_in_file += 1
            continue
        seen_keys.add(key)
        yield number, row


def _parse_line(line: bytes | None, parse: Callable[[dict[str, Any]], Row]) -> Row:
    if line is None:
        raise LineProblem("line_too_long", f"The line is longer than {MAX_LINE_BYTES:,} bytes.")
    return parse(parse_object(line))


def _check_id(source_id: str, number: int, lines_of_ids: dict[bytes, int]) -> None:
    if not source_id:
        return
    key = hashlib.blake2b(source_id.encode("utf-8"), digest_size=16).digest()
    if (earlier := lines_of_ids.setdefault(key, number)) != number:
        raise LineProblem("duplicate_id", f"The id {source_id!r} stands in line {earlier} already.", "id")


def _check_claim(row: Row, key: bytes, seen_keys: set[bytes], claims: dict[bytes, bytes]) -> None:
    """Who repeats a pair may not say something else of it: one of the two would be dropped unseen."""
    claim = row.claim if isinstance(row, PairRow) else b""
    if not claim:
        return
    if key not in seen_keys:
        claims[key] = claim
    elif claims.get(key) != claim:
        field = "gold" if isinstance(row, PairRow) and row.gold else "votes"
        reason = f"An earlier line holds the same pair, and its {field!r} is missing or says something else."
        raise LineProblem("claims_differ", reason, field)


def _count_row(row: Row, report: Report) -> None:
    report.good_lines += 1
    report.notes.update(row.notes)
    report.add_ignored(row.ignored)
    if isinstance(row, PairRow) and row.winner:
        report.recorded_winners += 1
