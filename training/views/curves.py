"""How the curves of a run are put before people: charts, last values, and a table that says the same.

Everything here is pure: rows and dictionaries in, words and numbers for the templates out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from training.curve_levels import pick_numbers
from training.engine.config import METHODS
from training.limits import GB
from training.models import Run
from training.selectors import MetricSeries

TABLE_ROWS = 100
"""A table of more rows is read by nobody; the curves and the JSON hold them all."""

SMOOTHED_SHARE = 0.05
"""Of a curve's rows that a running mean looks back on; the page's slider begins there."""

TRAIN_LOOK = "border-primary"
EVAL_LOOK = "border-dashed border-accent"
SECOND_LOOK = "border-dashed border-secondary"

POLICY_METHODS = tuple(method for method in METHODS if method != "reward")

Metric = Mapping[str, Any]


@dataclass(frozen=True)
class Curve:
    key: str
    label: str
    look: str
    smooth: bool = False
    of: str = ""
    """The number of the run, where several are drawn together."""


@dataclass(frozen=True)
class Chart:
    title: str
    curves: list[Curve]
    digits: int = 3
    line: float | None = None
    line_label: str = ""
    ends: tuple[float, float] | None = None
    folded: bool = False
    words: str = ""
    methods: tuple[str, ...] = ()
    """The methods that log this; empty where all do."""


@dataclass(frozen=True)
class Figure:
    label: str
    text: str


@dataclass(frozen=True)
class TableRow:
    step: int
    cells: list[str]


@dataclass(frozen=True)
class MetricTable:
    heads: list[str]
    rows: list[TableRow]


def list_charts(method: str, logged: Collection[str] = ()) -> list[Chart]:
    """The charts of a run page, in their order: those that its method fills, or that it ``logged`` anything for."""
    return [
        chart
        for chart in _list_all_charts()
        if not chart.methods or method in chart.methods or any(curve.key in logged for curve in chart.curves)
    ]


def list_usage_charts(run: Run) -> list[Chart]:
    """What a run uses, beside the seconds of its training; GPUs where its last sample has any."""
    last = run.usage.order_by("-second").values_list("values", flat=True).first()
    if last is None and run.is_at_rest:
        return []
    known = {"cpu", "memory", "disk", *(last or {})}
    charts = {
        "cpu": Chart(_("Processors"), [Curve("cpu", "%", TRAIN_LOOK)], digits=0, words=_("one core is 100")),
        "memory": Chart(_("Memory"), [Curve("memory", "GB", TRAIN_LOOK)], digits=2, words=_("of all its processes")),
        "disk": Chart(_("Disk"), [Curve("disk", "GB", TRAIN_LOOK)], digits=2, words=_("of all its attempts")),
        "gpu": Chart(_("GPU"), [Curve("gpu", "%", TRAIN_LOOK)], digits=0, ends=(0, 100)),
        "gpu_memory": Chart(_("GPU memory"), [Curve("gpu_memory", "GB", TRAIN_LOOK)], digits=2),
    }
    return [chart for name, chart in charts.items() if name in known]


def scale_usage(name: str, values: Sequence[float | None]) -> list[float | None]:
    """Bytes as GB; shares as they are."""
    scale = 1 if name in ("cpu", "gpu") else GB
    return [None if value is None else round(value / scale, 4) for value in values]


def _list_all_charts() -> list[Chart]:

    def both(name: str) -> list[Curve]:
        return [
            Curve(name, _("training"), TRAIN_LOOK, smooth=True),
            Curve(f"eval_{name}", _("held-out"), EVAL_LOOK),
        ]

    def sides(name: str) -> list[Curve]:
        return [
            Curve(f"{name}/chosen", _("chosen"), TRAIN_LOOK, smooth=True),
            Curve(f"{name}/rejected", _("rejected"), SECOND_LOOK, smooth=True),
        ]

    return [
        Chart(_("Loss"), both("loss")),
        Chart(
            _("Accuracy"),
            both("rewards/accuracies"),
            words=_("chosen > rejected"),
            line=0.5,
            line_label=_("chance"),
            ends=(0, 1),
        ),
        Chart(_("Reward margin"), both("rewards/margins"), line=0, words=_("chosen − rejected")),
        Chart(_("Rewards"), sides("rewards")),
        # The ORPO paper's figure 3: whether the rejected responses become less likely while the chosen ones do not.
        Chart(_("Log-probabilities"), sides("logps"), methods=POLICY_METHODS),
        Chart(_("Log odds ratio"), both("log_odds_chosen"), line=0, words=_("chosen − rejected"), methods=("orpo",)),
        Chart(_("Odds-ratio term"), both("log_odds_ratio"), words=_("log σ(log odds ratio)"), methods=("orpo",)),
        Chart(_("Language modelling"), both("nll_loss"), words=_("NLL of a chosen token"), methods=("orpo",)),
        Chart(_("Learning rate"), [Curve("learning_rate", _("training"), TRAIN_LOOK)], digits=8, folded=True),
        Chart(_("Gradient norm"), [Curve("grad_norm", _("training"), TRAIN_LOOK, smooth=True)], folded=True),
    ]


TABLE_KEYS = (
    "loss",
    "eval_loss",
    "rewards/accuracies",
    "eval_rewards/accuracies",
    "rewards/margins",
    "eval_rewards/margins",
    "rewards/chosen",
    "rewards/rejected",
    "logps/chosen",
    "logps/rejected",
    "log_odds_chosen",
    "eval_log_odds_chosen",
    "log_odds_ratio",
    "eval_log_odds_ratio",
    "nll_loss",
    "eval_nll_loss",
    "learning_rate",
    "grad_norm",
)


def name_metric(key: str) -> str:
    """A metric's key as a heading."""
    names = {
        "loss": _("Loss"),
        "rewards/accuracies": _("Accuracy"),
        "rewards/margins": _("Margin"),
        "rewards/chosen": _("Reward, chosen"),
        "rewards/rejected": _("Reward, rejected"),
        "logps/chosen": _("Log-probability, chosen"),
        "logps/rejected": _("Log-probability, rejected"),
        "log_odds_chosen": _("Log odds ratio"),
        "log_odds_ratio": _("Odds-ratio term"),
        "nll_loss": _("Language modelling"),
        "learning_rate": _("Learning rate"),
        "grad_norm": _("Gradient norm"),
    }
    plain = key.removeprefix("eval_")
    name = names.get(plain, plain)
    return _("%(name)s, held-out") % {"name": name} if key.startswith("eval_") else name


def show_metric(key: str, value: Any) -> str:
    """A metric's value as text; a dash where there is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "–"
    if key.endswith("accuracies"):
        return _("%(number)s %%") % {"number": f"{100 * value:.1f}"}
    return f"{value:.2e}" if key == "learning_rate" else f"{value:.4f}"


def list_rows(series: MetricSeries) -> list[dict[str, Any]]:
    """The curves turned into one row a step, without what a step does not have."""
    return [
        {"step": step, **{name: column[at] for name, column in series.values.items() if column[at] is not None}}
        for at, step in enumerate(series.steps)
    ]


def list_figures(rows: Sequence[Metric]) -> list[Figure]:
    """The last known value of the main curves."""
    figures = []
    for key in TABLE_KEYS[:6]:
        last = next((row[key] for row in reversed(rows) if row.get(key) is not None), None)
        if last is not None:
            figures.append(Figure(name_metric(key), show_metric(key, last)))
    return figures


def smooth(values: Sequence[float], counts: Sequence[int]) -> list[float]:
    """Running means over a twentieth of the curve, as static/js/curve_source.js draws them; a value of many rows weighs
    as much as they would one by one."""
    past = 1 - 1 / max(1, SMOOTHED_SHARE * sum(counts))
    means, mean, weight = [], 0.0, 0.0
    for value, count in zip(values, counts, strict=True):
        kept = past**count
        mean, weight = kept * mean + (1 - kept) * value, kept * weight + (1 - kept)
        means.append(mean / weight)
    return means


def write_csv(names: Sequence[str], rows: Iterable[tuple[int, datetime | None, Metric]]) -> Iterator[str]:
    """A head and a line for each step; empty where it has no such value."""
    yield ",".join(["step", "filed_at", *names]) + "\r\n"
    for step, at, values in rows:
        numbers = dict(pick_numbers(values))
        cells = [
            str(step),
            at.isoformat() if at else "",
            *(repr(numbers[name]) if name in numbers else "" for name in names),
        ]
        yield ",".join(cells) + "\r\n"


def tabulate_metrics(rows: Sequence[Metric]) -> MetricTable:
    """Newest first; of long runs every n-th row, but each evaluation and the last step."""
    keys = [key for key in TABLE_KEYS if any(row.get(key) is not None for row in rows)]
    stride = -(-len(rows) // TABLE_ROWS)
    chosen = [
        row
        for number, row in enumerate(rows)
        if number == len(rows) - 1 or number % stride == 0 or row.get("eval_loss") is not None
    ]
    body = [TableRow(row["step"], [show_metric(key, row.get(key)) for key in keys]) for row in reversed(chosen)]
    return MetricTable([name_metric(key) for key in keys], body)
