"""The curves reach the tracker that the settings name, with the numbers of metrics.jsonl."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event  # type: ignore[import-untyped]

from tests.models_registry.inference.jobs import read_lines, read_status, run_program
from tests.training.engine.runs import make_run, make_separable_records
from training.engine.run import main


def read_events(folder: Path) -> Iterator[tuple[str, int, float]]:
    """(name, step, value) of every scalar that TensorBoard would show."""
    for path in folder.rglob("*.tfevents.*"):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (size,) = struct.unpack("<Q", content[at : at + 8])  # a record: size, checksum, data, checksum
            event = Event.FromString(content[at + 12 : at + 12 + size])
            at += size + 16
            for value in event.summary.value:
                yield value.tag, event.step, value.simple_value


def test_tensorboard(tiny_policy: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "orpo", tiny_policy, make_separable_records(8), tracker="tensorboard")
    assert run_program(main, run) == 0
    shown = {(name, step): value for name, step, value in read_events(run / "trackers")}
    lines = [line for line in read_lines(run / "metrics.jsonl") if "loss" in line]
    assert lines
    for line in lines:
        for name in ("loss", "nll_loss", "rewards/margins", "learning_rate"):
            assert shown[name, line["step"]] == pytest.approx(line[name])


def test_missing_package_is_named(tiny_policy: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "dpo", tiny_policy, make_separable_records(4), tracker="mlflow")
    assert run_program(main, run) == 1
    cause = read_status(run)["cause"]
    assert cause["code"] == "no_tracker"
    assert "mlflow" in cause["text"]
