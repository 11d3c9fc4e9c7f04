"""Settings: defaults by method, every problem named, and no torch in the process that draws the form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from training.engine.config import METHODS, ConfigErrors, TrainingConfig, list_settings
from training.engine.spec import RunSpec


@pytest.mark.parametrize("method", METHODS)
def test_defaults_are_valid_and_survive_a_round_trip(method: str) -> None:
    config = TrainingConfig.from_dict(method, {})
    assert TrainingConfig.from_dict(method, config.to_dict()) == config
    for setting in list_settings(method):
        assert getattr(config, setting.name) == setting.default
        assert setting.help and setting.group


def test_methods_differ_in_settings_and_defaults() -> None:
    names = {method: {setting.name for setting in list_settings(method)} for method in METHODS}
    assert "beta" not in names["reward"] and {"beta", "label_smoothing"} <= names["dpo"]
    assert "center_rewards" in names["reward"] and "nll_over" in names["orpo"]
    assert TrainingConfig.from_dict("reward", {}).margin == "small"
    assert TrainingConfig.from_dict("dpo", {}).margin == "none"


def test_text_from_a_form_is_read_and_empty_fields_mean_the_default() -> None:
    config = TrainingConfig.from_dict(
        "dpo", {"learning_rate": "1e-4", "batch_size": " 8 ", "gradient_checkpointing": "on", "beta": "", "seed": None}
    )
    assert (config.learning_rate, config.batch_size, config.gradient_checkpointing) == (1e-4, 8, True)
    assert (config.beta, config.seed) == (0.1, 42)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("learning_rate", "fast", "must be a number"),
        ("learning_rate", "nan", "finite"),
        ("learning_rate", 2, "at most 1"),
        ("learning_rate", 10**400, "must be a number"),
        ("batch_size", 2.5, "whole number"),
        ("batch_size", 0, "at least 1"),
        ("batch_size", True, "must be a number"),
        ("batch_size", [4], "must be a number"),
        ("margin", "huge", "one of none, small, large"),
        ("margin", ["none"], "one of none, small, large"),
        ("gradient_checkpointing", "perhaps", "true or false"),
        ("max_prompt_length", 4096, "smaller than max_length"),
        ("label_smoothing", 0.5, "at most 0.499"),
        ("center_rewards", 0.01, "does not apply to dpo"),
        ("warp_speed", 9, "is no setting"),
    ],
)
def test_bad_value_is_named_with_its_reason(name: str, value: Any, reason: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        TrainingConfig.from_dict("dpo", {name: value})
    assert [field for field, _ in caught.value.errors] == [name]
    assert reason in caught.value.errors[0][1]


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigErrors) as caught:
        TrainingConfig.from_dict("dpo", {"beta": -1, "epochs": "many"})
    assert {field for field, _ in caught.value.errors} == {"beta", "epochs"}


def test_smoothing_and_margin_exclude_each_other() -> None:
    with pytest.raises(ConfigErrors, match="label_smoothing"):
        TrainingConfig.from_dict("dpo", {"label_smoothing": 0.1, "margin": "small"})


@pytest.mark.parametrize(
    ("preset", "expected"), [("none", [0, 0, 0, 0, 0]), ("small", [1, 1 / 3, 0, 0, 0]), ("large", [3, 1, 0, 0, 0])]
)
def test_grades_become_the_numbers_of_the_preset(preset: str, expected: list[float]) -> None:
    config = TrainingConfig.from_dict("reward", {"margin": preset})
    assert [
        config.margin_of(grade) for grade in ("significantly", "slightly", "negligibly", "unsure", None)
    ] == expected


def test_spec_reads_paths_relative_to_its_folder(tmp_path: Path) -> None:
    spec = {"method": "dpo", "model": "/models/base", "train_file": "train.jsonl", "values": {"beta": 0.2}}
    (tmp_path / "config.json").write_text(json.dumps(spec), encoding="utf-8")
    read = RunSpec.read(tmp_path)
    assert (read.model, read.train_file, read.eval_file) == (Path("/models/base"), tmp_path / "train.jsonl", None)
    assert (read.config.beta, read.model_name) == (0.2, "base")


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("{", "config.json"),
        ("[]", "config.json"),
        ('{"method": "dpo", "model": 3, "train_file": "t"}', "model"),
        ('{"method": "dpo", "model": "m", "train_file": "t", "values": 3}', "values"),
        ('{"method": "ppo", "model": "m", "train_file": "t"}', "method"),
        ('{"method": "dpo", "model": "m", "train_file": "t", "eval_file": 1}', "eval_file"),
    ],
)
def test_bad_spec_is_named(tmp_path: Path, content: str, field: str) -> None:
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigErrors) as caught:
        RunSpec.read(tmp_path)
    assert field in [name for name, _ in caught.value.errors]


def test_config_and_folder_checks_import_no_torch() -> None:
    code = (
        "import sys, training.engine.spec, models_registry.inference.folders;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_prompt_keeps_half_of_the_pair_unless_told_otherwise() -> None:
    assert TrainingConfig.from_dict("dpo", {"max_length": 100}).prompt_limit == 50
    assert TrainingConfig.from_dict("dpo", {"max_length": 100, "max_prompt_length": 70}).prompt_limit == 70
