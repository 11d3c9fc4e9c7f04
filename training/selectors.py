"""What the dashboard, the registry's pages and the API read about runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from annotate.models import Comparison, DatasetVersion, Judgment, Response, ResponseScore, SamplingJob
from models_registry.models import ModelVersion, WorkState
from training import curve_levels
from training.curve_levels import Span, Spread
from training.models import Run

MAX_POINTS = 600
"""Of a curve, where nothing else is asked for: about one a pixel of a chart."""
SINGLE_SHARE = 2
"""Up to so many times the points that are asked for, single steps are given as they are."""
MAX_USES = 20
LAST_ROWS = 200


@dataclass(frozen=True)
class MetricSeries:
    """Curves over common steps: ``values[name][i]`` belongs to ``steps[i]``, None where that step has no such value.

    Of long runs a point stands for ``width`` steps, the last of which that has a row is in ``steps``: ``counts`` rows,
    their mean, and in ``lows`` and ``highs`` (empty where ``width`` is 1) their ends. ``times``: seconds since 1970.
    """

    steps: list[int]
    values: dict[str, list[float | None]]
    width: int = 1
    counts: list[int] = field(default_factory=list)
    times: list[float | None] = field(default_factory=list)
    lows: dict[str, list[float | None]] = field(default_factory=dict)
    highs: dict[str, list[float | None]] = field(default_factory=dict)


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
    """All runs with their tags, newest first, without their long log tails."""
    runs = Run.objects.select_related("base_model", "dataset_version__project", "model", "created_by", "cloned_from")
    return runs.prefetch_related("tags").defer("log_tail", "cloned_from__log_tail")


def list_comparable_runs(run: Run) -> QuerySet[Run]:
    """Other runs of the same method that have begun, those on the same data first, then newest first."""
    others = list_runs().filter(method=run.method, archived_at=None).exclude(pk=run.pk).exclude(state=WorkState.QUEUED)
    return others.alias(other_data=~Q(dataset_version=run.dataset_version)).order_by("other_data", "-created_at", "-pk")


def get_metric_series(
    *, run: Run, first: int = 0, last: int | None = None, points: int = MAX_POINTS, width: int = 0
) -> MetricSeries:
    """The run's curves from step ``first`` to ``last``, in about ``points`` points, wider ones at the ends kept whole.

    ``width`` asks for points of so many steps, as those already known; other ones come where that were far too many.
    """
    newest = run.metrics.order_by("-step").values_list("step", flat=True).first()
    last = (newest or 0) if last is None else min(last, newest or 0)
    span = max(0, last - first + 1)
    if not width or span > width * points * SINGLE_SHARE:
        within = run.metrics.filter(step__gte=first, step__lte=last).order_by()
        is_few = within[: SINGLE_SHARE * points + 1].count() <= SINGLE_SHARE * points
        width = 1 if is_few else curve_levels.choose_width(span, points)
    level = curve_levels.choose_level(width)
    spans = curve_levels.read_level(run, level, *curve_levels.cover(first, last, width)) if span else []
    return _make_series(curve_levels.fold(spans, width), width)


def get_last_metrics(*, run: Run, count: int = LAST_ROWS) -> MetricSeries:
    """The end of the run's curves: cheap however long the run is, so a page may ask every two seconds."""
    start = run.metrics.order_by("-step").values_list("step", flat=True)[count - 1 : count].first() or 0
    return get_metric_series(run=run, first=start, width=1)


def list_metric_names(run: Run) -> list[str]:
    return sorted(get_metric_series(run=run).values)


def iterate_metrics(run: Run) -> Iterator[tuple[int, datetime | None, dict[str, Any]]]:
    """Every row in the order of steps, without holding them all."""
    yield from run.metrics.order_by("step").values_list("step", "at", "values").iterator(chunk_size=2000)


def _make_series(spans: Sequence[Span], width: int) -> MetricSeries:
    names = sorted({name for span in spans for name in span.values})

    def list_columns(which: int) -> dict[str, list[float | None]]:
        return {name: [_shorten(span.values.get(name), which, width) for span in spans] for name in names}

    return MetricSeries(
        steps=[span.last for span in spans],
        values=list_columns(1),
        width=width,
        counts=[span.rows for span in spans],
        times=[span.at and round(span.at) for span in spans],
        lows=list_columns(2) if width > 1 else {},
        highs=list_columns(3) if width > 1 else {},
    )


def _shorten(spread: Spread | None, which: int, width: int) -> float | None:
    """Of several steps six digits, more than a mean deserves; a single value as it was logged."""
    if spread is None:
        return None
    return spread[which] if width == 1 else float(f"{spread[which]:.6g}")


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
