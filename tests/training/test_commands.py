"""Runs from the command line: recipes, settings, refusals in words, and the ablation over margins."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from annotate.models import DatasetVersion
from models_registry.models import ModelVersion
from tests.scenery import make_model
from training.engine.data import Row
from training.engine.evaluate import describe_evaluation
from training.models import Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def base(admin: Any) -> ModelVersion:
    return make_model(admin, "base")


def call(command: str, *arguments: str) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


def test_recipe_with_a_setting_over_it(dataset_version: DatasetVersion, base: ModelVersion) -> None:
    parts = ["--dataset", str(dataset_version.pk), "--base", base.name, "--method", "dpo"]
    out = call(
        "launch_run", *parts, "--recipe", "dpo-paper", "--set", "max_length=128", "--set", "max_prompt_length=64"
    )
    run = Run.objects.get()
    assert f"/runs/{run.pk}/" in out
    assert (run.recipe, run.config["warmup_steps"], run.config["max_length"]) == ("dpo-paper", 150, 128)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset", "99", "--base", "base", "--method", "dpo"], "--dataset: there is no version 99"),
        (["--dataset", "1", "--base", "other", "--method", "dpo"], "--base: there is no model named other"),
        (["--dataset", "1", "--base", "base"], "--method: is needed"),
        (["--dataset", "1", "--base", "base", "--method", "dpo", "--set", "beta"], "--set beta"),
        (["--dataset", "1", "--base", "base", "--method", "dpo", "--set", "beta=x"], "beta: must be a number"),
        (["--dataset", "1", "--base", "base", "--method", "sft", "--set", "beta=1"], "beta: does not apply to sft"),
        (["--dataset", "1", "--base", "base", "--method", "dpo", "--recipe", "orpo-paper"], "recipe: "),
    ],
)
def test_refusals_name_field_and_reason(
    dataset_version: DatasetVersion, base: ModelVersion, arguments: list[str], words: str
) -> None:
    arguments = [str(dataset_version.pk) if value == "1" else value for value in arguments]
    with pytest.raises(CommandError, match=words):
        call("launch_run", *arguments)
    assert not Run.objects.exists()


def test_ablation_launches_one_run_a_margin_and_shows_them(dataset_version: DatasetVersion, base: ModelVersion) -> None:
    parts = ["--dataset", str(dataset_version.pk), "--base", base.name, "--method", "reward"]
    out = call("ablate_margin", *parts, "--set", "epochs=2")
    runs = {run.config.pop("margin"): run for run in Run.objects.all()}
    assert list(runs) == ["large", "small", "none"]  # the newest first
    assert len({str(run.config) for run in runs.values()}) == 1
    numbers = [str(runs[preset].pk) for preset in ("none", "small", "large")]
    assert f"/runs/{numbers[0]}/?with={numbers[1]}&with={numbers[2]}" in out

    rows = [Row([1], ([2], [3]), (True, False), grade=grade) for grade in ("significantly", "slightly", "slightly")]
    wins = {"rewards/accuracies": [1.0, 1.0, 0.0], "rewards/chosen": [1.0, 2, 0], "rewards/rejected": [0.0, 1, 1]}
    for run in Run.objects.all():
        run.result = {"eval": describe_evaluation(rows, {"eval_loss": 0.5}, wins)}
        run.save()
    table = call("ablate_margin", "--show", *numbers)
    assert [line.split()[0] for line in table.splitlines()] == ["margin", "none", "small", "large"]
    assert "100.0 (21-100) n=1" in table  # Wilson, one of one
    assert "50.0 (9-91) n=2" in table
    with pytest.raises(CommandError, match="there is no run 9999"):
        call("ablate_margin", "--show", "9999")
