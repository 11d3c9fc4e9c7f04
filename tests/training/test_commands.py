"""Runs from the command line: recipes, settings, refusals in words, and the ablation over margins."""

from __future__ import annotations

import shlex
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from annotate.models import DatasetVersion, Project
from models_registry.models import ModelVersion, WorkState
from tests.scenery import make_dataset, make_model
from training.engine.data import Row
from training.engine.evaluate import describe_evaluation
from training.management import launching
from training.management.commands import ablate_margin
from training.models import Run
from training.placing import Placement
from training.views.outcome import write_command

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


def test_where_it_is_trained(dataset_version: DatasetVersion, base: ModelVersion) -> None:
    parts = ["--dataset", str(dataset_version.pk), "--base", base.name, "--method", "dpo"]
    call("launch_run", *parts, "--gpus", "4", "--hosts", "2", "--label", "eu", "--sharding", "shards")
    run = Run.objects.get()
    assert (run.gpus, run.hosts, run.label, run.sharding) == (4, 2, "eu", "shards")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset", "99", "--base", "base", "--method", "dpo"], "--dataset: there is no version '99'"),
        (["--dataset", "1", "--base", "other", "--method", "dpo"], "--base: there is no model named 'other'"),
        (["--dataset", "1", "--base", "base"], "--method or --recipe: is needed"),
        (["--dataset", "1", "--base", "base", "--method", "dpo", "--set", "beta"], "--set beta"),
        (["--dataset", "1", "--base", "base", "--method", "dpo", "--set", "beta=x"], "--set beta: must be a number"),
        (
            ["--dataset", "1", "--base", "base", "--method", "sft", "--set", "beta=1"],
            "--set beta: does not apply to sft",
        ),
        (["--dataset", "1", "--base", "base", "--method", "dpo", "--recipe", "orpo-paper"], "--recipe: "),
        (["--dataset", "1", "--base", "base", "--method", "dpo", "--gpu-memory-gb", "8"], "--gpu-memory-gb: Ask for"),
        (["--dataset", "1", "--base", "base", "--method", "dpo", "--hosts", "0"], "--hosts: From 1 to 32."),
        (["--base", "base", "--method", "dpo"], "--dataset or --project: is needed"),
        (["--project", "nowhere", "--base", "base", "--method", "dpo"], "no project"),
        (["--project", "bare", "--base", "base", "--method", "dpo"], "--project: bare has no finished dataset version"),
        (["--dataset", "1", "--base", "base", "--method", "dpo", "--set", "beta=1", "--set", "beta=2"], "given twice"),
    ],
)
def test_refusals_name_field_and_reason(
    dataset_version: DatasetVersion, base: ModelVersion, admin: User, arguments: list[str], words: str
) -> None:
    Project.objects.create(name="Bare", slug="bare", created_by=admin)
    arguments = [str(dataset_version.pk) if value == "1" else value for value in arguments]
    with pytest.raises(CommandError, match=words):
        call("launch_run", *arguments)
    assert not Run.objects.exists()


def test_project_gives_its_newest_version_and_recipe_its_method(
    dataset_version: DatasetVersion, base: ModelVersion
) -> None:
    newest = make_dataset(dataset_version.project, 3)
    make_dataset(dataset_version.project, 4, state=WorkState.FAILED)
    make_dataset(dataset_version.project, 5, train_rows=0)
    out = call("launch_run", "--project", dataset_version.project.slug, "--base", base.name, "--recipe", "orpo-paper")
    run = Run.objects.get()
    assert (run.dataset_version, run.method, run.config["epochs"]) == (newest, "orpo", 5.0)
    assert f"Run {run.pk}, base-orpo-1: /runs/{run.pk}/" in out and "Watch it" in out


def test_the_command_on_a_runs_page_asks_for_as_many_devices(
    dataset_version: DatasetVersion, base: ModelVersion
) -> None:
    parts = ["--dataset", str(dataset_version.pk), "--base", base.name, "--method", "dpo"]
    asked = ["--gpus", "2", "--gpu-memory-gb", "40", "--label", "a100", "--hosts", "3", "--sharding", "shards"]
    call("launch_run", *parts, *asked)
    run = Run.objects.get()
    assert Placement.of(run) == Placement(gpus=2, gpu_memory_gb=40, label="a100", hosts=3, sharding="shards")
    call(*shlex.split(write_command(run))[2:])
    assert Placement.of(Run.objects.exclude(pk=run.pk).get()) == Placement.of(run)


def test_waiting_follows_the_run_to_its_end(
    dataset_version: DatasetVersion, base: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [
        lambda run: run.update(state=WorkState.RUNNING, message="Training: step 1 of 2"),
        lambda run: run.update(state=WorkState.FAILED, cause="The disk is full.", message=""),
    ]
    monkeypatch.setattr(f"{launching.__name__}.time.sleep", lambda _seconds: looks.pop(0)(Run.objects.all()))
    out = StringIO()
    parts = ["--dataset", f"{dataset_version.project.slug}/1", "--base", base.name, "--method", "dpo"]
    with pytest.raises(CommandError, match="The run is failed"):
        call_command("launch_run", *parts, "--wait", stdout=out)
    said = [line.split(": ", 1)[1] for line in out.getvalue().splitlines()]
    assert said[1:] == ["queued", "running: Training: step 1 of 2", "failed: The disk is full."]


def test_ablation_launches_all_runs_or_none(
    dataset_version: DatasetVersion, base: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = ["--dataset", str(dataset_version.pk), "--base", base.name, "--method", "reward"]
    with pytest.raises(CommandError, match="--set margin"):
        call("ablate_margin", *parts, "--set", "margin=large")

    def launch_two(asked: launching.Asked, **options: Any) -> Run:
        if Run.objects.count() == 2:
            raise CommandError("no third")
        return launching.launch_asked(asked, **options)

    monkeypatch.setattr(ablate_margin, "launch_asked", launch_two)
    with pytest.raises(CommandError, match="no third"):
        call("ablate_margin", *parts)
    assert not Run.objects.exists()


def test_ablation_launches_one_run_a_margin_and_shows_them(dataset_version: DatasetVersion, base: ModelVersion) -> None:
    parts = ["--dataset", str(dataset_version.pk), "--base", base.name, "--method", "reward"]
    out = call("ablate_margin", *parts, "--set", "epochs=2")
    runs = {run.config.pop("margin"): run for run in Run.objects.all()}
    assert list(runs) == ["large", "small", "none"]  # the newest first
    assert len({str(run.config) for run in runs.values()}) == 1
    numbers = [str(runs[preset].pk) for preset in ("none", "small", "large")]
    assert {run.name for run in runs.values()} == {f"base-reward-margin-{preset}-1" for preset in runs}
    assert f"/runs/{numbers[0]}/?with={numbers[1]}&with={numbers[2]}" in out

    rows = [Row([1], ([2], [3]), (True, False), grade=grade) for grade in ("significantly", "slightly", "slightly")]
    wins = {"rewards/accuracies": [1.0, 1.0, 0.0], "rewards/chosen": [1.0, 2, 0], "rewards/rejected": [0.0, 1, 1]}
    for run in Run.objects.all():
        run.result = {"eval": describe_evaluation(rows, {"eval_loss": 0.5}, wins)}
        run.save()
    table = call("ablate_margin", "--show", *numbers)
    assert [line.split()[0] for line in table.splitlines()] == ["margin", "none", "small", "large", "Accuracy"]
    assert "100.0 (21-100) n=1" in table  # Wilson, one of one
    assert "50.0 (9-91) n=2" in table
    with pytest.raises(CommandError, match="there is no run 9999"):
        call("ablate_margin", "--show", "9999")
