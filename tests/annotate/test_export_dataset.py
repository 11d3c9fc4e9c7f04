"""The export command, and other people's tools that read what it writes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from annotate.models import Comparison, DatasetVersion, Import, Project
from models_registry.models import WorkState
from tests.annotate.votes import vote


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, settings: Any) -> Path:
    settings.DATA_DIR = tmp_path / "data"
    return tmp_path


@pytest.fixture
def judged(project: Project, make_comparison: Callable[..., Comparison], labeler: User, teammate: User) -> Project:
    for number in range(24):
        comparison = make_comparison(need=2)
        vote(comparison, labeler, "ab"[number % 2], ("significantly", "slightly", "negligibly")[number % 3])
        vote(comparison, teammate, "a", "slightly")
    return project


def export(*options: str) -> str:
    out = io.StringIO()
    call_command("export_dataset", "--project", "kitchen-help", *options, stdout=out)
    return out.getvalue()


def test_command_freezes_prints_and_copies(judged: Project, tmp_path: Path, teammate: User, admin: User) -> None:
    words = export(
        "--leave-out-labelers", "teammate", "--grades", "significantly", "slightly", "--eval-share", "0.25",
        "--out", str(tmp_path / "new" / "mine"),
    )  # fmt: skip
    version = DatasetVersion.objects.get()
    assert (version.state, version.created_by) == (WorkState.FINISHED, admin)
    assert version.rule["left_out_labelers"] == [teammate.pk]
    assert version.train_rows + version.eval_rows == 16 and version.left_out == {"grade": 8}
    assert "a grade that the rule leaves out: 8" in words and version.train_sha256 in words
    copied = tmp_path / "new" / "mine"
    assert (copied / "train.jsonl").read_bytes() == version.train_path.read_bytes()
    assert (copied / "eval.jsonl").read_bytes() == version.eval_path.read_bytes()
    assert version.train_sha256 in (copied / "README.md").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--eval-share", "0.9"], "--eval-share: The share for evaluation"),
        (["--min-votes", "0"], "--min-votes"),
        (["--leave-out-labelers", "nobody"], "no account named nobody"),
        (["--by", "labeler"], "no active admin named labeler"),
        (["--min-votes", "3"], "No row comes of this rule. Left out: 24 × fewer votes"),
        (["--out", "/dev/null/x"], "cannot be made a folder"),
        (["--project", "nothing-here"], "There are: kitchen-help"),
    ],
)
def test_command_says_what_is_wrong(judged: Project, options: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        export(*options)
    assert not DatasetVersion.objects.filter(state=WorkState.FINISHED).exists()


def test_recorded_winners_need_no_votes(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(
        b'{"prompt": "Q", "chosen": "good", "rejected": "bad"}\n{"prompt": "R", "responses": ["a", "b"]}\n'
    )
    call_command("import_comparisons", path, project="kitchen-help", format="pairs", stdout=io.StringIO())
    export("--aggregation", "recorded", "--eval-share", "0")
    version = DatasetVersion.objects.get()
    (row,) = [orjson.loads(line) for line in version.train_path.read_bytes().splitlines()]
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("good", "bad")
    assert (row["grade"], row["margin"], row["judgment_ids"]) == (None, 0.0, [])
    assert version.left_out == {"no_recorded_winner": 1}
    assert version.counts["mean_agreement"] is None


def test_an_export_can_be_imported_elsewhere(judged: Project, tmp_path: Path, admin: User) -> None:
    export("--out", str(tmp_path / "out"), "--eval-share", "0")
    other = Project.objects.create(name="Other", slug="other", created_by=admin)
    words = io.StringIO()
    call_command("import_comparisons", tmp_path / "out" / "train.jsonl", project="other", format="pairs", stdout=words)
    rows = [orjson.loads(line) for line in (tmp_path / "out" / "train.jsonl").read_bytes().splitlines()]
    assert "field 'judgment_ids' not kept" in words.getvalue()
    assert Import.objects.get().report["imported"] == len(rows) == other.comparisons.count() > 0
    for comparison in other.comparisons.select_related("prompt", "response_a", "response_b"):
        winner = comparison.response_a if comparison.recorded_winner == "a" else comparison.response_b
        assert {"prompt": comparison.prompt.messages, "chosen": winner.text} in [
            {"prompt": row["prompt"], "chosen": row["chosen"][0]["content"]} for row in rows
        ]


READ_BY_OTHERS = """
import sys, torch
from datasets import load_dataset
from trl.data_utils import is_conversational
from trl.trainer.reward_trainer import DataCollatorForPreference

data = load_dataset(sys.argv[1])
assert set(data) == {"train", "test"}, data
row = data["train"][0]
assert is_conversational(row) and row["chosen"][0]["role"] == "assistant", row
assert str(data["train"].features) == str(data["test"].features)
margins = [row["margin"] for row in data["train"]]
examples = [{"chosen_ids": [1, 2], "rejected_ids": [3], "margin": margin} for margin in margins]
batch = DataCollatorForPreference(pad_token_id=0)(examples)
assert torch.allclose(batch["margin"], torch.tensor(margins)), batch
print(len(data["train"]), len(data["test"]))
"""


def test_datasets_and_trl_read_the_folder_offline(judged: Project, tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="the test extra is not installed")
    export("--eval-share", "0.3")
    version = DatasetVersion.objects.get()
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", READ_BY_OTHERS, str(version.folder)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(version.train_rows), str(version.eval_rows)] and version.eval_rows > 0
