"""Settings: defaults by method, every problem named, and no torch in the process that draws the form."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from training.engine.config import METHODS, ConfigErrors, TrainingConfig, list_settings, parse_margin_map
from training.engine.spec import RunSpec


@pytest.mark.parametrize("method", METHODS)
def test_defaults_are_valid_and_survive_a_round_trip(method: str) -> None:
    config = TrainingConfig.from_dict(method, {})
    assert TrainingConfig.from_dict(method, config.to_dict()) == config
    for setting in list_settings(method):
        assert getattr(config, setting.name) == setting.default
        assert setting.help and setting.group


OWN_SETTINGS = {
    "sft": set(),
    "reward": {"center_rewards", "margin", "margin_map", "soft_labels", "layout"},
    "dpo": {"beta", "dpo_loss", "label_smoothing", "margin", "margin_map", "soft_labels", "layout"},
    "ipo": {"beta", "ipo_average", "margin", "margin_map", "soft_labels", "layout"},
    "kto": {"beta", "desirable_weight", "undesirable_weight", "margin", "margin_map", "layout"},
    "orpo": {"beta", "nll_over", "margin", "margin_map", "soft_labels", "layout"},
    "cpo": {"beta", "label_smoothing", "nll_weight", "margin", "margin_map", "soft_labels", "layout"},
    "simpo": {"beta", "gamma_ratio", "label_smoothing", "nll_weight", "margin", "margin_map", "soft_labels", "layout"},
    "arpo": {"beta", "arpo_form", "arpo_c1", "arpo_c2", "label_smoothing", "nll_weight", "margin", "margin_map"}
    | {"soft_labels", "layout"},
}


def test_each_method_has_its_own_settings_beside_the_common_ones() -> None:
    names = {method: {setting.name for setting in list_settings(method)} for method in METHODS}
    common = set.intersection(*names.values())
    assert {method: names[method] - common for method in METHODS} == OWN_SETTINGS
    assert {"learning_rate", "schedule", "pair_weights", "overlong", "precision", "lora_r", "save_steps"} <= common


@pytest.mark.parametrize(
    ("method", "defaults"),
    [
        ("sft", {"learning_rate": 2e-5, "packing": False, "attention": "auto"}),
        ("reward", {"learning_rate": 2e-5, "margin": "small", "overlong": "drop", "center_rewards": 0}),
        ("dpo", {"learning_rate": 5e-6, "beta": 0.1, "dpo_loss": "sigmoid", "margin": "none", "overlong": "truncate"}),
        ("ipo", {"learning_rate": 1e-6, "beta": 0.1, "ipo_average": "mean"}),
        ("kto", {"learning_rate": 1e-6, "beta": 0.1, "desirable_weight": 1, "undesirable_weight": 1}),
        ("orpo", {"learning_rate": 8e-6, "beta": 0.1, "nll_over": "prompt and chosen"}),
        ("cpo", {"learning_rate": 5e-6, "beta": 0.1, "nll_weight": 1}),
        ("simpo", {"learning_rate": 1e-6, "beta": 2, "gamma_ratio": 0.5, "nll_weight": 0}),
        ("arpo", {"beta": 0.1, "arpo_form": "code", "arpo_c1": 0.9, "arpo_c2": 0.4, "nll_weight": 1}),
    ],
)
def test_defaults_by_method(method: str, defaults: dict[str, Any]) -> None:
    config = TrainingConfig.from_dict(method, {})
    assert {name: getattr(config, name) for name in defaults} == defaults
    assert (config.soft_labels, config.pair_weights, config.max_grad_norm) == ("off", "off", 1)


@pytest.mark.parametrize("method", METHODS)
def test_bounds_are_allowed_and_what_lies_beyond_is_not(method: str) -> None:
    bounded = [setting for setting in list_settings(method) if setting.minimum is not None]
    assert len(bounded) > 10
    for setting in bounded:
        for bound, away in ((setting.minimum, -1), (setting.maximum, 1)):
            assert bound is not None
            others = {"max_length": 2**20} if setting.name == "max_prompt_length" else {"max_prompt_length": 1}
            if (setting.name, away) != ("max_prompt_length", 1):  # which also has to be shorter than the whole
                config = TrainingConfig.from_dict(method, others | {setting.name: bound})
                assert getattr(config, setting.name) == bound
            beyond = bound + away if setting.type is int else math.nextafter(bound, away * math.inf)
            with pytest.raises(ConfigErrors) as caught:
                TrainingConfig.from_dict(method, {setting.name: beyond})
            assert [name for name, _reason in caught.value.errors] == [setting.name]


@pytest.mark.parametrize("method", METHODS)
def test_every_choice_is_accepted_and_survives_a_round_trip(method: str) -> None:
    for setting in list_settings(method):
        for choice in setting.choices:
            config = TrainingConfig.from_dict(method, {setting.name: choice})
            assert getattr(config, setting.name) == choice
            assert TrainingConfig.from_dict(method, json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "on"), (False, "off"), ("true", "on"), ("False", "off"), ("auto", "auto"), ("on", "on"), ("off", "off"),
        ("", "auto"),
    ],
)  # fmt: skip
def test_checkpointing_was_a_yes_or_no_in_earlier_versions(value: Any, expected: str) -> None:
    config = TrainingConfig.from_dict("dpo", {"gradient_checkpointing": value})
    assert config.gradient_checkpointing == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), ("on", True), ("TRUE", True), ("1", True), (False, False), ("off", False), (" 0 ", False)],
)
def test_yes_and_no_as_forms_send_them(value: Any, expected: bool) -> None:
    assert TrainingConfig.from_dict("sft", {"packing": value}).packing is expected


def test_text_from_a_form_is_read_and_empty_fields_mean_the_default() -> None:
    config = TrainingConfig.from_dict(
        "dpo", {"learning_rate": "1e-4", "batch_size": " 8 ", "length_buckets": "off", "beta": "", "seed": None}
    )
    assert (config.learning_rate, config.batch_size, config.length_buckets) == (1e-4, 8, False)
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
        ("gradient_checkpointing", "perhaps", "one of auto, on, off"),
        ("gradient_checkpointing", [], "one of auto, on, off"),
        ("length_buckets", "perhaps", "true or false"),
        ("length_buckets", 1, "true or false"),
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("significantly=2", {"significantly": 2}),
        (" slightly = 0.5 ,significantly=1e0,, unsure=-1 ", {"slightly": 0.5, "significantly": 1, "unsure": -1}),
        ("slightly=100", {"slightly": 100}),
        ("significantly=1, slightly=0.5, negligibly=0", {"significantly": 1, "slightly": 0.5, "negligibly": 0}),
        ("better=0.75", {"better": 0.75}),
    ],
)
def test_margin_map(text: str, expected: dict[str, float]) -> None:
    assert parse_margin_map(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hugely=1", "must be written as significantly=1, better=0.75, slightly=0.5, negligibly=0"),
        ("slightly", "must be written as"),
        ("slightly:1", "must be written as"),
        ("slightly=", "must be a number"),
        ("slightly=a", "must be a number"),
        ("slightly=1=2", "must be a number"),
        ("slightly=nan", "must be a finite number"),
        ("slightly=101", "must be at most 100"),
        ("slightly=-101", "must be at most 100"),
        ("slightly=1, slightly=2", "names slightly twice"),
        ([1], "must be written as"),
    ],
)
def test_bad_margin_map_is_refused_before_it_is_used(text: Any, reason: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        TrainingConfig.from_dict("dpo", {"margin_map": text, "margin": "none"})
    ((name, told),) = caught.value.errors
    assert name == "margin_map" and reason in told


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
