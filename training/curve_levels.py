"""Curves of runs of any length at a bounded cost: above the rows of single steps, points of 16, 256 and 4,096 steps.

What is asked for is answered from the level just below its resolution, so 600 points of 100,000 steps are made of 6,250
rows at most, and of 391 when the whole run is seen. Levels are written with the rows, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from training.models import MetricSpan, Run, RunMetric

WIDTHS = (16, 256, 4096)
BATCH = 400

Spread = tuple[int, float, float, float]
"""How many values, their mean, the lowest and the highest."""


@dataclass
class Span:
    """What became of ``width`` steps from ``start`` on: the last of them that has a row, and each metric's values."""

    start: int
    last: int
    rows: int
    at: float | None
    """When the last row was filed, in seconds since 1970."""
    values: dict[str, Spread] = field(default_factory=dict)


def file_metrics(run: Run, lines: Iterable[Mapping[str, Any]]) -> None:
    """Stores lines of metrics.jsonl; the caller's transaction holds the lease.

    Several lines of one step (training, evaluation) become one row; a step done again is overwritten.
    """
    by_step: dict[int, dict[str, Any]] = {}
    for line in lines:
        by_step.setdefault(int(line["step"]), {}).update((name, line[name]) for name in line if name != "step")
    if not by_step:
        return
    now = timezone.now()
    steps = sorted(by_step)
    # By range, not by number: many numbers would be more than a statement of SQLite may hold.
    known = dict(run.metrics.filter(step__gte=steps[0], step__lte=steps[-1]).values_list("step", "values"))
    rows = [RunMetric(run=run, step=step, values=known.get(step, {}) | by_step[step], at=now) for step in steps]
    RunMetric.objects.bulk_create(
        rows, batch_size=BATCH, update_conflicts=True, unique_fields=["run", "step"], update_fields=["values", "at"]
    )
    raise_levels(run, steps[0], steps[-1])


def raise_levels(run: Run, first: int, last: int) -> None:
    """Makes the points of all levels anew that steps from ``first`` to ``last`` belong to."""
    below = 1
    for width in WIDTHS:
        spans = fold(read_level(run, below, *cover(first, last, width)), width)
        rows = [
            MetricSpan(
                run_id=run.pk,
                width=width,
                start=each.start,
                last=each.last,
                rows=each.rows,
                at=each.at,
                values=each.values,
            )
            for each in spans
        ]
        MetricSpan.objects.bulk_create(
            rows,
            batch_size=BATCH,
            update_conflicts=True,
            unique_fields=["run", "width", "start"],
            update_fields=["last", "rows", "at", "values"],
        )
        below = width


def read_level(run: Run, width: int, first: int, last: int) -> list[Span]:
    """The points of one level, whole ones: those of single steps where ``width`` is 1."""
    if width == 1:
        rows = run.metrics.filter(step__gte=first, step__lte=last).order_by("step").values_list("step", "values", "at")
        return [
            Span(
                step, step, 1, at.timestamp() if at else None, {name: (1, v, v, v) for name, v in pick_numbers(values)}
            )
            for step, values, at in rows
        ]
    spans = run.spans.filter(width=width, start__gte=first, start__lte=last).order_by("start")
    return [Span(*span) for span in spans.values_list("start", "last", "rows", "at", "values")]


def pick_numbers(values: Mapping[str, Any]) -> list[tuple[str, float]]:
    """What can be drawn; a loss that was no number is stored as null."""
    return [
        (name, float(value))
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def cover(first: int, last: int, width: int) -> tuple[int, int]:
    """The steps of all points of ``width`` that ``first`` to ``last`` touch."""
    return first // width * width, last // width * width + width - 1


def fold(spans: Iterable[Span], width: int) -> list[Span]:
    """Points of ``width`` steps, a multiple of that of ``spans``, which come in order."""
    folded: list[Span] = []
    for span in spans:
        start = span.start // width * width
        if not folded or folded[-1].start != start:
            folded.append(Span(start, span.last, 0, None))
        into = folded[-1]
        into.last, into.rows, into.at = span.last, into.rows + span.rows, span.at or into.at
        for name, (count, mean, low, high) in span.values.items():
            if name in into.values:
                had, average, lowest, highest = into.values[name]
                total = had + count
                mean = average + (mean - average) * count / total
                count, low, high = total, min(low, lowest), max(high, highest)
            into.values[name] = (count, mean, low, high)
    return folded


def choose_width(span: int, points: int) -> int:
    """The least power of two that cuts ``span`` steps into at most ``points`` (and one at an edge)."""
    return 1 << max(0, (-(-span // points) - 1).bit_length())


def choose_level(width: int) -> int:
    """The coarsest level that points of ``width`` can be made of."""
    return max(level for level in (1, *WIDTHS) if level <= width)
