"""A run that waits while the house is brought up to date goes on afterwards, whatever settings were added meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

from models_registry.inference.program import EXIT_STOPPED
from tests.models_registry.inference.jobs import read_result, read_status, run_program
from tests.training.engine.runs import make_run, make_separable_records, stop_after
from training.engine.checkpoint import MANIFEST, _describe, list_checkpoints
from training.engine.run import main


def forget(run: Path, *settings: str) -> None:
    """Rewrites the newest checkpoint as one from before these settings."""
    folder = list_checkpoints(run / "checkpoints")[0]
    state = json.loads((folder / "state.json").read_text())
    for name in settings:
        del state["identity"][name]
    (folder / "state.json").write_text(json.dumps(state))
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["state.json"] = _describe(folder / "state.json")
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_setting_added_since_counts_as_its_default(tiny_policy: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "dpo", tiny_policy, make_separable_records(24))
    assert run_program(stop_after(2), run) == EXIT_STOPPED
    (run / "stop").unlink()
    forget(run, "packing", "dpo_loss")
    assert run_program(main, run) == 0
    assert read_result(run)["steps"] == 3


def test_setting_added_since_and_changed_is_refused(tiny_policy: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "dpo", tiny_policy, make_separable_records(24), dpo_loss="hinge")
    assert run_program(stop_after(2), run) == EXIT_STOPPED
    (run / "stop").unlink()
    forget(run, "dpo_loss")
    assert run_program(main, run) == 1
    assert "dpo_loss" in read_status(run)["cause"]["text"]
