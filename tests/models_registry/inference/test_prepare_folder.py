"""Taking over a local folder: only what is safe comes along, and what must not be registered is refused in words."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from models_registry.inference import prepare
from models_registry.inference.prepare import prepare_model
from tests.models_registry.inference.jobs import make_job, read_cause, read_result, run_program


@pytest.fixture
def source(tmp_path: Path, policy: Path) -> Path:
    """A copy of the tiny policy that a test may spoil."""
    return Path(shutil.copytree(policy, tmp_path / "source"))


def folder_job(folder: Path, source: Path) -> Path:
    return make_job(folder, {"source": "folder", "ref": str(source)})


def edit_json(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_folder_is_taken_over_with_its_facts(tmp_path: Path, source: Path) -> None:
    (source / "README.md").write_text("---\nlicense: other\nlicense_name: 'house rules'\n---\n# Mine\n")
    folder = folder_job(tmp_path / "job", source)
    assert run_program(prepare_model, folder) == 0
    result = read_result(folder)
    assert result["origin"] == {"name": "source", "folder": str(source)}
    assert (result["kind"], result["dtype"], result["licence"]) == ("policy", "F32", "house rules")
    assert result["bytes"] == sum(path.stat().st_size for path in (folder / "model").iterdir())
    assert (folder / "model" / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()


def test_on_one_file_system_weights_take_no_second_space(tmp_path: Path, source: Path) -> None:
    folder = folder_job(tmp_path / "job", source)
    run_program(prepare_model, folder)
    assert (folder / "model" / "model.safetensors").samefile(source / "model.safetensors")


def test_where_links_are_impossible_files_are_copied(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    folder = folder_job(tmp_path / "job", source)
    assert run_program(prepare_model, folder) == 0
    assert not (folder / "model" / "model.safetensors").samefile(source / "model.safetensors")


def test_pickles_code_and_subfolders_stay_behind(tmp_path: Path, source: Path) -> None:
    for name in ("training_args.bin", "optimizer.pt", "modeling_evil.py", ".hidden.json"):
        (source / name).write_bytes(b"x")
    (source / "checkpoint-1").mkdir()
    folder = folder_job(tmp_path / "job", source)
    assert run_program(prepare_model, folder) == 0
    names = {path.name for path in (folder / "model").iterdir()}
    assert names <= {path.name for path in source.iterdir()}
    assert not names & {"training_args.bin", "optimizer.pt", "modeling_evil.py", ".hidden.json", "checkpoint-1"}


def test_a_reward_model_is_known_as_one(tmp_path: Path, reward_model: Path) -> None:
    folder = folder_job(tmp_path / "job", reward_model)
    assert run_program(prepare_model, folder) == 0
    assert read_result(folder)["kind"] == "reward"


def spoil_to_pickle(source: Path) -> None:
    (source / "model.safetensors").rename(source / "pytorch_model.bin")


def spoil_with_auto_map(source: Path) -> None:
    edit_json(source / "config.json", auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"})


def spoil_tokenizer_with_auto_map(source: Path) -> None:
    edit_json(source / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", None]})


def spoil_by_truncation(source: Path) -> None:
    os.truncate(source / "model.safetensors", 5000)


def spoil_tokenizer(source: Path) -> None:
    (source / "tokenizer.json").write_text("{}")


def spoil_by_emptying(source: Path) -> None:
    (source / "model.safetensors").unlink()


def spoil_by_removal(source: Path) -> None:
    shutil.rmtree(source)


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (spoil_to_pickle, "pickle", "pytorch_model.bin"),
        (spoil_with_auto_map, "remote_code", "auto_map"),
        (spoil_tokenizer_with_auto_map, "remote_code", "tokenizer_config.json"),
        (spoil_by_truncation, "bad_weights", "model.safetensors"),
        (spoil_tokenizer, "no_tokenizer", "tokenizer"),
        (spoil_by_emptying, "bad_model", ".safetensors"),
        (spoil_by_removal, "not_found", "no folder"),
    ],
)
def test_what_must_not_be_registered_is_refused(
    tmp_path: Path, source: Path, spoil: Any, code: str, words: str
) -> None:
    spoil(source)
    folder = folder_job(tmp_path / "job", source)
    assert run_program(prepare_model, folder) == 1
    assert read_cause(folder)[0] == code
    assert words in read_cause(folder)[1]
    assert not (folder / "model").exists()
    assert not (folder / "result.json").exists()


def test_a_half_built_model_is_built_anew(tmp_path: Path, source: Path) -> None:
    """As left by a crash between the rename and the result, and by one in the middle of copying."""
    folder = folder_job(tmp_path / "job", source)
    for name in ("model", "scratch"):
        (folder / name).mkdir()
        (folder / name / "leftover").write_text("x")
    assert run_program(prepare_model, folder) == 0
    assert not (folder / "model" / "leftover").exists()


def test_a_prepared_model_is_not_built_again(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_job(tmp_path / "job", source)
    run_program(prepare_model, folder)
    monkeypatch.setattr(prepare, "read_model_facts", lambda *_, **__: pytest.fail("checked again"))
    assert run_program(prepare_model, folder) == 0


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ([], "must hold an object"),
        ({"source": "ftp"}, "one of demo, hub, folder"),
        ({"source": "folder"}, "ref:"),
        ({"source": "hub", "ref": "../../etc"}, "not a hub id"),
        ({"source": "hub", "ref": "a/b/c"}, "not a hub id"),
        ({"source": "hub", "ref": "a/b", "revision": "../x"}, "not a branch"),
        ({"source": "hub", "ref": "a/b", "revision": 7}, "not a branch"),
    ],
)
def test_a_bad_config_is_named_by_field(tmp_path: Path, config: Any, words: str) -> None:
    folder = make_job(tmp_path, config)
    assert run_program(prepare_model, folder) == 1
    assert read_cause(folder)[0] == "bad_config"
    assert words in read_cause(folder)[1]


def test_a_template_that_refuses_a_plain_question_is_told_before_any_run(tmp_path: Path, source: Path) -> None:
    (source / "chat_template.jinja").write_text("{{ raise_exception('Only roleplay, please.') }}")
    folder = folder_job(tmp_path / "job", source)
    assert run_program(prepare_model, folder) == 1
    code, text = read_cause(folder)
    assert code == "bad_template" and "Only roleplay, please." in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_registered(tmp_path: Path, source: Path, value: float) -> None:
    weights = load_file(source / "model.safetensors")
    name = sorted(weights)[-1]
    weights[name].view(-1)[-1] = value
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
    folder = folder_job(tmp_path / "job", source)
    assert run_program(prepare_model, folder) == 1
    code, text = read_cause(folder)
    assert code == "bad_weights" and name in text
    assert not (folder / "model").exists()
