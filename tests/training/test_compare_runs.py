"""Runs beside each other: common charts, what differs, results with intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from annotate.models import DatasetVersion, Project
from models_registry.models import ModelVersion, WorkState
from tests import scenery
from tests.training.evaluations import make_evaluation

SignIn = Callable[[User], Client]


def ask(*runs: Any) -> dict[str, Any]:
    return {"run": list(runs)}


def test_runs_are_compared_by_data_settings_and_results(
    sign_in: SignIn, admin: User, project: Project, dataset: DatasetVersion, base: ModelVersion
) -> None:
    run = scenery.make_run(dataset, base, name="mine", state=WorkState.RUNNING)
    newer = scenery.make_dataset(project, 2, train_rows=300)
    other = scenery.make_run(newer, base, "ipo", name="theirs", config={"learning_rate": 1e-5})
    scenery.finish_run(other, eval=make_evaluation())
    queued = scenery.make_run(dataset, base, name="not begun")
    for each in (run, other):
        scenery.make_metrics(each, 12, seed=each.pk)
    client, url = sign_in(admin), reverse("run_compare")
    answer = client.get(url, ask(run.pk, other.pk, other.pk, queued.pk, "x", "9" * 30))
    assert [each.name for each, _look in answer.context["runs"]] == ["mine", "theirs", "not begun"]
    charts = {chart.title: [curve.label for curve in chart.curves] for chart in answer.context["charts"]}
    assert charts["Loss"] == ["mine", "theirs"] and "Log odds ratio" not in charts
    origins = {line.label: line for line in answer.context["origins"]}
    assert origins["Dataset version"].differs and not origins["Base model"].differs
    assert origins["Dataset version"].cells[1].url == reverse("dataset_detail", args=[newer.pk])
    settings = {line.label: [cell.text for cell in line.cells] for line in answer.context["settings"]}
    assert settings["Learning rate"] == ["5e-6", "1e-5", "5e-6"] and "Epochs" not in settings
    results = {line.label: [cell.text for cell in line.cells] for line in answer.context["results"]}
    accuracy = results["All held-out pairs: Accuracy (95 % interval)"]
    assert accuracy[0] == accuracy[2] == "–" and accuracy[1].startswith("7") and "–" in accuracy[1]
    assert results["Loss, held-out"] == ["0.6330", "0.6330", "–"]
    page = answer.content.decode()
    assert f'data-source="{other.pk}" data-url="{reverse("run_metrics", args=[other.pk])}"' in page
    everything = client.get(url, ask(run.pk, other.pk) | {"all": 1})
    assert "Epochs" in {line.label for line in everything.context["settings"]}


def test_too_few_and_too_many(sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion) -> None:
    runs = [scenery.make_run(dataset, base, name=f"run {number}") for number in range(6)]
    client, url = sign_in(admin), reverse("run_compare")
    for query in (ask(), ask(runs[0].pk), ask(0, "x")):
        assert "Tick two to five runs" in client.get(url, query).content.decode()
    answer = client.get(url, ask(*(run.pk for run in runs)))
    assert len(answer.context["runs"]) == 5
    assert "They agree in every setting" in answer.content.decode() and "At most five" in answer.content.decode()


def test_a_run_offers_others_of_its_method(
    sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    run = scenery.make_run(dataset, base, name="mine", state=WorkState.RUNNING)
    other = scenery.make_run(dataset, base, name="theirs", state=WorkState.FAILED)
    scenery.make_run(dataset, base, name="not begun")
    scenery.make_run(dataset, base, "reward", name="of another kind", state=WorkState.FAILED)
    answer = sign_in(admin).get(reverse("run_detail", args=[run.pk]))
    assert answer.context["offers"] == [other]
    assert f'action="{reverse("run_compare")}"' in answer.content.decode()
