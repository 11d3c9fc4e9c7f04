"""What the dashboard, the registry's pages and the API read about runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q, QuerySet

from annotate.models import Comparison, DatasetVersion, Judgment, Response, ResponseScore, SamplingJob
from models_registry.models import ModelVersion, WorkState
from training.models import Run

MAX_POINTS = 500
MAX_USES = 20
LAST_ROWS = 200


@dataclass(frozen=True)
class MetricSeries:
    """Curves over common steps: ``values[name][i]`` belongs to ``steps[i]``, None where that step has no such value."""

    steps: list[int]
    values: dict[str, list[float | None]]


@dataclass(frozen=True)
class Votes:
    """How much human judgment a dataset version rests on."""

    judgments: int
    labelers: int
    comparisons: int


@dataclass(frozen=True)
class LineageStep:
    """One model and how it came to be; a base model has no run."""

    model: ModelVersion
    run: Run | None
    dataset_version: DatasetVersion | None
    votes: Votes | None


@dataclass(frozen=True)
class Lineage:
    """``steps`` walk back from the model to its first base; the rest is what came of the model."""

    steps: list[LineageStep]
    descendants: list[ModelVersion] = field(default_factory=list)
    responses: int = 0
    comparisons: int = 0
    judgments: int = 0


@dataclass(frozen=True)
class Uses:
    """What was done with a model: runs that start from it, jobs in which it answered, responses that it scored.

    ``judges`` are the reward models that scored its responses.
    """

    runs: list[Run]
    sampling_jobs: list[SamplingJob]
    scores: int
    judges: list[ModelVersion]


def list_runs() -> QuerySet[Run]:
    """All runs, newest first, without their long log tails."""
    runs = Run.objects.select_related("base_model", "dataset_version__project", "model", "created_by")
    return runs.defer("log_tail")


def list_comparable_runs(run: Run) -> QuerySet[Run]:
    """Other runs of the same method that have begun, those on the same data first, then newest first."""
    others = list_runs().filter(method=run.method).exclude(pk=run.pk).exclude(state=WorkState.QUEUED)
    return others.alias(other_data=~Q(dataset_version=run.dataset_version)).order_by("other_data", "-created_at", "-pk")


def get_metric_series(*, run: Run, after: int = -1, max_points: int = MAX_POINTS) -> MetricSeries:
    """The run's curves after step ``after``, thinned to about ``max_points`` points; evaluations are all kept."""
    rows = list(run.metrics.filter(step__gt=after).order_by("step").values_list("step", "values"))
    return _make_series(_thin(rows, max_points))


def get_last_metrics(*, run: Run, count: int = LAST_ROWS) -> MetricSeries:
    """The end of the run's curves: cheap however long the run is, so a page may ask every two seconds."""
    rows = list(run.metrics.order_by("-step").values_list("step", "values")[:count])
    return _make_series(rows[::-1])


def _make_series(rows: list[tuple[int, dict[str, Any]]]) -> MetricSeries:
    names = sorted({name for _step, values in rows for name, value in values.items() if _is_number(value)})
    return MetricSeries(
        steps=[step for step, _values in rows],
        values={name: [_read_number(values.get(name)) for _step, values in rows] for name in names},
    )


def count_votes(dataset_version: DatasetVersion) -> Votes:
    judgments = Judgment.objects.filter(uses__dataset_version=dataset_version)
    return Votes(
        judgments=judgments.count(),
        labelers=judgments.values("labeler").distinct().count(),
        comparisons=judgments.values("comparison").distinct().count(),
    )


def get_lineage(model: ModelVersion) -> Lineage:
    """Back: votes, dataset version, run, base, and so on. Forward: models made from it, its responses, their votes."""
    steps: list[LineageStep] = []
    current: ModelVersion | None = model
    while current is not None:
        steps.append(_describe_step(current))
        current = current.base
    said = Comparison.objects.filter(response_a__model=model) | Comparison.objects.filter(response_b__model=model)
    return Lineage(
        steps=steps,
        descendants=list(model.descendants.order_by("pk")),
        responses=Response.objects.filter(model=model).count(),
        comparisons=said.count(),
        judgments=Judgment.objects.filter(comparison__in=said, action=Judgment.Action.VOTE, is_repeat=False).count(),
    )


def list_uses(model: ModelVersion) -> Uses:
    """The newest runs and sampling jobs of a model, and how many responses it scored."""
    jobs = SamplingJob.objects.filter(Q(model_a=model) | Q(model_b=model)).select_related("project")
    return Uses(
        runs=list(list_runs().filter(base_model=model)[:MAX_USES]),
        sampling_jobs=list(jobs.defer("log_tail")[:MAX_USES]),
        scores=ResponseScore.objects.filter(model=model).count(),
        judges=list(ModelVersion.objects.filter(scores__response__model=model).distinct().order_by("-pk")[:MAX_USES]),
    )


def _describe_step(model: ModelVersion) -> LineageStep:
    run = Run.objects.select_related("dataset_version__project", "created_by").filter(model=model).first()
    if run is None:
        return LineageStep(model, None, None, None)
    return LineageStep(model, run, run.dataset_version, count_votes(run.dataset_version))


def _thin(rows: list[tuple[int, dict[str, Any]]], max_points: int) -> list[tuple[int, dict[str, Any]]]:
    stride = math.ceil(len(rows) / max_points)
    if stride <= 1:
        return rows
    last = len(rows) - 1
    return [
        row
        for number, row in enumerate(rows)
        if number % stride == 0 or number == last or any(name.startswith("eval_") for name in row[1])
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read_number(value: Any) -> float | None:
    return float(value) if _is_number(value) else None
