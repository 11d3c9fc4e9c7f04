"""What programs write is read with caution."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models_registry import program_folder
from models_registry.program_folder import ProgramFolder, Status


@pytest.fixture
def files(tmp_path: Path) -> ProgramFolder:
    files = ProgramFolder(tmp_path / "attempt-1")
    files.prepare({"mode": "finish"})
    return files


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "[" * 100_000, '{"step": "many", "message": 3}'])
def test_unreadable_status_counts_as_none(files: ProgramFolder, content: str) -> None:
    (files.path / "status.json").write_text(content)
    assert files.read_status() == Status()


def test_status_is_cut_to_what_a_row_holds(files: ProgramFolder) -> None:
    raw = {"state": "failed", "step": 3.0, "total_steps": -1, "eta_s": 1e300, "message": "a\x00b" + "x" * 999}
    (files.path / "status.json").write_text(json.dumps(raw | {"cause": {"code": "c" * 99, "text": "why"}}))
    status = files.read_status()
    assert (status.state, status.step, status.total_steps, status.seconds_left) == ("failed", 3, None, None)
    assert len(status.message) == 500
    assert "\x00" not in status.message
    assert (len(status.cause_code), status.cause_text) == (50, "why")


def test_metrics_wait_for_their_line_to_be_whole(files: ProgramFolder) -> None:
    path = files.path / "metrics.jsonl"
    assert files.peek_metrics() == ([], 0)
    path.write_text('{"step": 1, "loss": NaN}\nnonsense\n{"loss": 2}\n{"step": 2')
    rows, offset = files.peek_metrics()
    assert rows == [{"step": 1, "loss": None}]
    assert files.peek_metrics()[0] == rows  # not yet accepted: a transaction may have been taken back
    files.accept_metrics(offset)
    with path.open("a") as file:
        file.write(', "loss": 1}\n')
    assert files.peek_metrics()[0] == [{"step": 2, "loss": 1}]


def test_endless_metrics_line_is_stepped_over(files: ProgramFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_folder, "_METRICS_AT_ONCE", 100)
    (files.path / "metrics.jsonl").write_text("x" * 250 + '\n{"step": 1}\n')
    found = []
    for _round in range(5):
        rows, offset = files.peek_metrics()
        files.accept_metrics(offset)
        found += rows
    assert found == [{"step": 1}]


def test_log_tail_shows_progress_bars_as_they_look(files: ProgramFolder) -> None:
    (files.path / "log.txt").write_bytes(b"start\r\n 10%\r 50%\r100%\nb\xffd \x00\n")
    assert files.read_log_tail() == "start\n100%\nb\N{REPLACEMENT CHARACTER}d \N{REPLACEMENT CHARACTER}\n"


def test_log_tail_is_short_and_starts_with_a_whole_line(files: ProgramFolder) -> None:
    (files.path / "log.txt").write_text("".join(f"line {number}\n" for number in range(20_000)))
    tail = files.read_log_tail()
    assert len(tail) <= program_folder.LOG_TAIL_BYTES
    assert tail.startswith("line ")
    assert tail.endswith("line 19999\n")


def test_result_must_be_an_object(files: ProgramFolder) -> None:
    assert files.read_result() is None
    (files.path / "result.json").write_text("[]")
    assert files.read_result() is None


def test_attempt_starts_in_an_empty_private_folder(files: ProgramFolder) -> None:
    (files.path / "stop").write_text("left over")
    files.prepare({"mode": "again"})
    assert sorted(path.name for path in files.path.iterdir()) == ["config.json", "heartbeat"]
    assert files.path.stat().st_mode & 0o077 == 0
