"""What the dashboard and the registry read: curves, lineage."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.models import User

from annotate.models import DatasetVersion, DatasetVersionJudgment, Project
from annotate.services.comparisons import NewResponse, create_comparison
from annotate.services.prompts import get_or_create_prompt
from models_registry.models import ModelVersion, WorkState
from tests.annotate.votes import vote
from tests.conftest import MakeComparison
from tests.scenery import make_dataset, make_model
from training.models import Run, RunMetric
from training.selectors import get_lineage, get_metric_series, list_comparable_runs, list_runs

Launch = Callable[..., Run]


def add_metrics(run: Run, count: int, eval_every: int = 0) -> None:
    rows = []
    for step in range(count):
        values: dict[str, object] = {"loss": 1 / (step + 1), "note": "not a number"}
        if eval_every and step % eval_every == 0:
            values["eval_loss"] = 0.5
        rows.append(RunMetric(run=run, step=step, values=values))
    RunMetric.objects.bulk_create(rows)


def test_series_share_their_steps(launch: Launch) -> None:
    run = launch()
    add_metrics(run, 5, eval_every=2)
    series = get_metric_series(run=run)
    assert series.steps == [0, 1, 2, 3, 4]
    assert series.values["eval_loss"] == [0.5, None, 0.5, None, 0.5]
    assert set(series.values) == {"loss", "eval_loss"}


def test_series_after_a_step(launch: Launch) -> None:
    run = launch()
    add_metrics(run, 5)
    assert get_metric_series(run=run, first=3).steps == [3, 4]
    assert get_metric_series(run=run, first=5).steps == []


def test_lineage_walks_back_to_votes_and_forward_to_samples(
    launch: Launch,
    dataset_version: DatasetVersion,
    base_model: ModelVersion,
    make_comparison: MakeComparison,
    labeler: User,
    teammate: User,
    admin: User,
) -> None:
    for comparison, people in ((make_comparison(need=2), (labeler, teammate)), (make_comparison(), (labeler,))):
        for person in people:
            judgment = vote(comparison, person)
            DatasetVersionJudgment.objects.create(dataset_version=dataset_version, judgment=judgment, split="train")
    model = make_model(admin, "trained", source="run", base=base_model)
    run = launch()
    Run.objects.filter(pk=run.pk).update(model=model)
    child = make_model(admin, "grandchild", source="run", base=model)

    prompt, _new = get_or_create_prompt(
        project=dataset_version.project, messages=[{"role": "user", "content": "What now?"}]
    )
    for number in range(2):
        sampled = create_comparison(
            project=dataset_version.project,
            prompt=prompt,
            response_a=NewResponse(f"This {number}.", model=model),
            response_b=NewResponse(f"That {number}.", model=model),
        )
    vote(sampled, labeler)

    lineage = get_lineage(model)
    trained, base = lineage.steps
    assert (trained.model, trained.run, trained.dataset_version) == (model, run, dataset_version)
    assert trained.votes is not None
    assert (trained.votes.judgments, trained.votes.labelers, trained.votes.comparisons) == (3, 2, 2)
    assert (base.model, base.run, base.votes) == (base_model, None, None)
    assert lineage.descendants == [child]
    assert (lineage.responses, lineage.comparisons, lineage.judgments) == (4, 2, 1)
    assert [step.model for step in get_lineage(child).steps] == [child, model, base_model]


def test_runs_on_the_same_data_are_compared_first(launch: Launch, project: Project, base_model: ModelVersion) -> None:
    run, same, elsewhere, newest = (launch(name=name) for name in ("run", "same", "elsewhere", "newest"))
    reward = launch(name="another method", method="reward")
    Run.objects.filter(pk=elsewhere.pk).update(dataset_version=make_dataset(project, 2))
    assert not list_comparable_runs(run).exists(), "a run that waits has nothing to show"
    Run.objects.exclude(pk=run.pk).update(state=WorkState.FINISHED)
    assert list(list_comparable_runs(run)) == [newest, same, elsewhere]
    assert list(list_comparable_runs(reward)) == []


def test_list_of_runs_reads_few_rows(launch: Launch, django_assert_num_queries: Callable[..., object]) -> None:
    for number in range(3):
        launch(name=f"run {number}")
    with django_assert_num_queries(2):  # type: ignore[attr-defined]
        assert [str(run.dataset_version) for run in list_runs()] == ["Kitchen help v1"] * 3
