"""Anthropic's HH-RLHF format with its known blemishes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotate.importing.reader import read_rows
from annotate.importing.report import Report
from annotate.importing.rows import PairRow

OPENING = "\n\nHuman: Do you like tea?\n\nAssistant: I do.\n\nHuman: Which?\n\nAssistant:"


def read(tmp_path: Path, *pairs: tuple[str, str]) -> tuple[list[PairRow], Report]:
    path = tmp_path / "upload"
    path.write_text("".join(json.dumps({"chosen": one, "rejected": two}) + "\n" for one, two in pairs))
    report = Report()
    return [row for _number, row in read_rows(path, "hh-rlhf", report) if isinstance(row, PairRow)], report


def test_a_dialogue_becomes_turns_and_two_replies(tmp_path: Path) -> None:
    (row,), report = read(tmp_path, (f"{OPENING} Green tea, mostly.", f"{OPENING}  Tea.\n\nWith milk. "))
    assert [(turn["role"], turn["content"]) for turn in row.messages] == [
        ("user", "Do you like tea?"),
        ("assistant", "I do."),
        ("user", "Which?"),
    ]
    assert (row.first, row.second, row.winner) == ("Green tea, mostly.", "Tea.\n\nWith milk.", "a")
    assert report.bad_lines == 0 and report.recorded_winners == 1


@pytest.mark.parametrize(
    ("chosen", "rejected", "code"),
    [
        (f"{OPENING} Green.", f"{OPENING} Green. ", "identical_responses"),
        (f"{OPENING} Green.", OPENING.replace("I do", "No") + " Black.", "prompts_differ"),
        (f"{OPENING} Green.", f"{OPENING} Let me see.\n\nAssistant: Black.", "prompts_differ"),
        (f"{OPENING} Green.", f"{OPENING} ", "empty_text"),
        (f"{OPENING} Green.", "", "empty_text"),
        (f"{OPENING} Green.", f"{OPENING} Black.\n\nHuman: Thanks.", "last_turn"),
        ("Green.", "Black.", "no_dialogue"),
        ("Tea?\n\nAssistant: Green.", "Tea?\n\nAssistant: Black.", "no_dialogue"),
        ("\n\nAssistant: Green.", "\n\nAssistant: Black.", "no_dialogue"),
        ("\n\nHuman: \n\nAssistant: Green.", "\n\nHuman: \n\nAssistant: Black.", "empty_text"),
        (f"{OPENING} Hm.\n\nAssistant: Green.", f"{OPENING} Hm.\n\nAssistant: Black.", "last_turn"),
        (f"{OPENING} {'x' * 70_000}", f"{OPENING} Black.", "field_too_long"),
        (f"{OPENING} {'x' * 600_000}", f"{OPENING} Black.", "field_too_long"),
    ],
)
def test_blemishes_are_bad_lines_with_a_reason(tmp_path: Path, chosen: str, rejected: str, code: str) -> None:
    rows, report = read(tmp_path, (chosen, rejected), (f"{OPENING} Green.", f"{OPENING} Black."))
    assert len(rows) == 1
    assert report.problems == {code: 1} and report.listed[0]["line"] == 1 and report.listed[0]["reason"]


def test_two_turns_in_a_row_are_joined_and_counted(tmp_path: Path) -> None:
    opening = OPENING.replace("I do.", "I do.\n\nAssistant: Very much.")
    (row,), report = read(tmp_path, (f"{opening} Green.", f"{opening} Black."))
    assert [turn["content"] for turn in row.messages] == ["Do you like tea?", "I do.\n\nVery much.", "Which?"]
    assert report.notes == {"merged_turns": 1}


def test_words_that_only_look_like_a_speaker_stay_text(tmp_path: Path) -> None:
    (row,), _report = read(tmp_path, (f"{OPENING} Green. Human: no.", f"{OPENING} Humans:\n\nHumans: yes."))
    assert (row.first, row.second) == ("Green. Human: no.", "Humans:\n\nHumans: yes.")
