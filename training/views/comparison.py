"""A run beside others of its method: their curves over each other, and what they were set to and came to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from training import selectors
from training.models import Run
from training.selectors import MetricSeries
from training.views import outcome, plots
from training.views.curves import name_metric, show_metric, smooth
from training.views.plots import Axis, Key, Look, Mark, Plot, Table, Tick

MOST_OTHERS = 4
MOST_OFFERED = 30
MOST_POINTS = 150
"""Of one curve: more than can be told apart at the width of a plot."""
FEW_POINTS = 12

LOOKS = (
    (Look("text-primary"), "circle"),
    (Look("text-secondary", dash="7 4"), "square"),
    (Look("text-accent", dash="2 3"), "triangle"),
    (Look("text-success", dash="9 3 2 3"), "diamond"),
    (Look(dash="5 2"), "cross"),
)

COMPARED = (
    "loss",
    "eval_loss",
    "eval_rewards/accuracies",
    "eval_rewards/margins",
    "logps/chosen",
    "logps/rejected",
    "log_odds_chosen",
    "nll_loss",
)


@dataclass(frozen=True)
class Offer:
    run: Run
    chosen: bool


@dataclass(frozen=True)
class Comparison:
    """``legend`` names the runs in the order of the table's columns; without others there are no plots."""

    offers: list[Offer]
    too_many: bool
    legend: list[tuple[Key, Run]]
    plots: list[Plot]
    table: Table | None


def compare_runs(run: Run, numbers: Sequence[int]) -> Comparison:
    """``run`` with the first four of the runs ``numbers`` that can be compared with it; others are left aside."""
    comparable = selectors.list_comparable_runs(run)
    found = {other.pk: other for other in comparable.filter(pk__in=numbers)}
    asked = [found[number] for number in dict.fromkeys(numbers) if number in found]
    others = asked[:MOST_OTHERS]
    listed = others + [other for other in comparable[:MOST_OFFERED] if other not in others]
    runs = [run, *others] if others else []
    series = [selectors.get_metric_series(run=each) for each in runs]
    return Comparison(
        offers=[Offer(other, other in others) for other in listed],
        too_many=len(asked) > MOST_OTHERS,
        legend=[(_draw_key(at), each) for at, each in enumerate(runs)],
        plots=[plot for key in COMPARED if (plot := draw_metric(key, series, runs))],
        table=tabulate_runs(runs, series) if runs else None,
    )


def draw_metric(key: str, series: Sequence[MetricSeries], runs: Sequence[Run]) -> Plot | None:
    """One metric of all runs over their steps; None where not one of them has it."""
    lines = [_read_line(key, each) for each in series]
    values = [value for line in lines for _step, value in line]
    if not values:
        return None
    rates = key.endswith("accuracies")
    heights = [0, 0.25, 0.5, 0.75, 1] if rates else plots.list_steps(min(values), max(values))
    last_step = max(step for line in lines for step, _value in line) or 1
    steps = [step for step in plots.list_steps(0, last_step) if step <= last_step and step == int(step)]
    across = Axis(0, last_step, plots.LEFT, plots.RIGHT)
    up = Axis(heights[0], heights[-1], plots.BOTTOM, plots.TOP)
    marks = []
    for (look, shape), line in zip(LOOKS, lines, strict=False):
        places = [(across.place(step), up.place(value)) for step, value in line]
        if places:
            marks.append(Mark(plots.draw_line(places), look))
            marked = places if len(places) <= FEW_POINTS else places[-1:]
            marks += [Mark(plots.draw_marker(shape, x, y), _fill(look)) for x, y in marked]
    last = [f"{run.name} {show_metric(key, line[-1][1])}" for run, line in zip(runs, lines, strict=True) if line]
    return Plot(
        key=f"compare-{key}",
        title=name_metric(key),
        summary=", ".join(last),
        x_label=_("step"),
        x_ticks=[Tick(across.place(step), plots.show_number(step)) for step in steps],
        y_ticks=[
            Tick(up.place(height), outcome.show_percent(height) if rates else plots.show_number(height))
            for height in heights
        ],
        marks=marks,
        legend=[],
    )


def tabulate_runs(runs: Sequence[Run], series: Sequence[MetricSeries]) -> Table:
    """A column a run: its data, its base, the settings in which they differ, its accuracy and its last values."""
    rows = [
        [_("Dataset"), *(str(run.dataset_version) for run in runs)],
        [_("Base model"), *(run.base_model.name for run in runs)],
    ]
    settings = [{used.label: used.text for used in outcome.list_used_settings(run)} for run in runs]
    for label in settings[0]:
        texts = [each.get(label, "–") for each in settings]
        if len(set(texts)) > 1:
            rows.append([label, *texts])
    accuracies = [next(iter(outcome.describe_accuracies(run.result)), None) for run in runs]
    if any(accuracies):
        rows.append([outcome.name_accuracy(), *(outcome.show_accuracy(each) for each in accuracies)])
    for key in COMPARED:
        lines = [_read_line(key, each) for each in series]
        if any(lines):
            rows.append([name_metric(key), *(show_metric(key, line[-1][1] if line else None) for line in lines)])
    return Table([_("Run"), *(run.name for run in runs)], rows)


def _read_line(key: str, series: MetricSeries) -> list[tuple[int, float]]:
    """The steps that have the metric; values of single steps as running means, at most about MOST_POINTS of them."""
    column = series.values.get(key, [])
    line = [
        (step, value)
        for step, value in zip(series.steps, column, strict=False)
        if value is not None and math.isfinite(value)
    ]
    if not key.startswith("eval_"):
        line = list(
            zip((step for step, _value in line), smooth([value for _step, value in line], [1] * len(line)), strict=True)
        )
    stride = -(-len(line) // MOST_POINTS) or 1
    return [point for at, point in enumerate(line) if at % stride == 0 or at == len(line) - 1]


def _draw_key(at: int) -> Key:
    look, shape = LOOKS[at]
    return Key([Mark("M0 6H28", look), Mark(plots.draw_marker(shape, 14, 6), _fill(look))], "")


def _fill(look: Look) -> Look:
    return Look(look.ink, fill="solid", width=1.5)
