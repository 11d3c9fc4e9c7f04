"""Prompts alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotate.importing.reader import read_rows
from annotate.importing.report import Report


def read(tmp_path: Path, *objects: dict[str, object]) -> tuple[list[list[str]], Report]:
    path = tmp_path / "upload"
    path.write_text("".join(json.dumps(fields) + "\n" for fields in objects))
    report = Report()
    return [[turn["content"] for turn in row.messages] for _number, row in read_rows(path, "prompts", report)], report


def test_texts_and_messages(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    rows, report = read(tmp_path, {"prompt": "Why?"}, {"prompt": turns, "id": 1}, {"messages": turns[1:]})
    assert rows == [["Why?"], ["Be brief.", "Why?"]]
    assert report.duplicates_in_file == 1 and report.bad_lines == 0


def test_two_user_turns_in_a_row_are_kept_and_counted(tmp_path: Path) -> None:
    rows, report = read(
        tmp_path, {"prompt": [{"role": "user", "content": "Why?"}, {"role": "user", "content": "Well?"}]}
    )
    assert rows == [["Why?", "Well?"]] and report.notes == {"turns_in_a_row": 1}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"text": "Why?"}, "missing_field"),
        ({"prompt": "a", "messages": []}, "two_forms"),
        ({"messages": [{"role": "assistant", "content": "Hello"}]}, "last_turn"),
        ({"prompt": {"role": "user"}}, "wrong_type"),
    ],
)
def test_bad_lines(tmp_path: Path, fields: dict[str, object], code: str) -> None:
    _rows, report = read(tmp_path, fields)
    assert report.problems == {code: 1}
