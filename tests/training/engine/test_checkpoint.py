"""Checkpoints: whole or absent, the newest sound one wins, earlier ones survive any failure."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch

from models_registry.inference.program import write_json_atomically
from training.engine.checkpoint import find_checkpoint, find_damage, list_checkpoints, save_checkpoint


def save(folder: Path, step: int, keep: int = 2) -> Path:
    tensors = {"model": {"weight": torch.full((4, 4), float(step))}, "optimizer": {"exp_avg/weight": torch.ones(2)}}
    return save_checkpoint(folder, step, tensors, {"step": step}, keep=keep)


def test_newest_checkpoint_is_found_and_read_back(tmp_path: Path) -> None:
    for step in (2, 10, 9):
        save(tmp_path, step, keep=3)
    found = find_checkpoint([tmp_path], pytest.fail)
    assert found is not None and found.state == {"step": 10}
    assert torch.equal(found.read_tensors("model")["weight"], torch.full((4, 4), 10.0))


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in range(1, 6):
        save(tmp_path, step)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000005", "step-00000004"]


def flip_a_byte(path: Path) -> None:
    content = bytearray((path / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (path / "model.safetensors").write_bytes(content)


def cut_short(path: Path) -> None:
    file = path / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-5])


def lose_a_file(path: Path) -> None:
    (path / "state.json").unlink()


def lose_the_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()


def garble_the_manifest(path: Path) -> None:
    (path / "manifest.json").write_text('{"files": [', encoding="utf-8")


def point_outside(path: Path) -> None:
    manifest = {"files": {"../../secret": {"size": 1, "sha256": ""}}}
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (flip_a_byte, "model.safetensors has the wrong SHA-256"),
        (cut_short, "optimizer.safetensors has the wrong size"),
        (lose_a_file, "state.json is missing"),
        (lose_the_manifest, "manifest.json is missing"),
        (garble_the_manifest, "manifest cannot be read"),
        (point_outside, "is no file name"),
    ],
)
def test_damaged_checkpoint_is_passed_over_and_named(tmp_path: Path, damage, word: str) -> None:  # type: ignore[no-untyped-def]
    save(tmp_path, 1)
    damage(save(tmp_path, 2))
    said: list[str] = []
    found = find_checkpoint([tmp_path], said.append)
    assert found is not None and found.state == {"step": 1}
    assert len(said) == 1 and "step-00000002" in said[0] and word in said[0]


def test_nothing_sound_means_none(tmp_path: Path) -> None:
    lose_the_manifest(save(tmp_path, 1))
    assert find_checkpoint([tmp_path, tmp_path / "absent"], lambda _: None) is None


def test_failed_write_leaves_earlier_checkpoints_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)

    def run_out_of_space(path: Path, value: object) -> None:
        if path.name == "manifest.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_json_atomically(path, value)

    monkeypatch.setattr("training.engine.checkpoint.write_json_atomically", run_out_of_space)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert find_damage(tmp_path / "step-00000001") is None


def test_leftovers_of_a_killed_process_are_cleared(tmp_path: Path) -> None:
    (tmp_path / ".step-00000001.123").mkdir(parents=True)
    save(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


def test_interrupted_rewrite_of_a_damaged_step_replaces_it(tmp_path: Path) -> None:
    flip_a_byte(save(tmp_path, 3))
    assert find_damage(save(tmp_path, 3)) is None
