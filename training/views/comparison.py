"""Runs beside each other: their curves on common charts, what they were set to and made of, and what they came to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.contrib.humanize.templatetags.humanize import intcomma
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotate.permissions import admin_required
from training import selectors
from training.engine.recipes import RECIPES
from training.models import Run
from training.selectors import MetricSeries
from training.views import outcome
from training.views.curves import Chart, Curve, name_metric, show_metric, smooth
from training.views.launch import is_number

MOST_RUNS = 5
MOST_OFFERED = 30

LOOKS = (
    "border-primary",
    "border-dashed border-secondary",
    "border-dotted border-accent",
    "border-success",
    "border-dashed border-base-content",
)
"""Told apart by dash as well as by colour."""

COMPARED = (
    "loss",
    "eval_loss",
    "rewards/accuracies",
    "eval_rewards/accuracies",
    "rewards/margins",
    "eval_rewards/margins",
    "logps/chosen",
    "logps/rejected",
    "kl",
    "log_odds_chosen",
    "eval_log_odds_chosen",
    "nll_loss",
    "eval_nll_loss",
    "grad_norm",
    "learning_rate",
)


@dataclass(frozen=True)
class Cell:
    text: str
    url: str = ""
    seconds: float | None = None
    """Shown as a duration, in the place of the text."""


@dataclass(frozen=True)
class Line:
    """A row of a table: a heading and a cell for each run."""

    label: str
    cells: list[Cell]

    @property
    def differs(self) -> bool:
        return len({cell.text for cell in self.cells}) > 1


@admin_required
@require_safe
@never_cache
def compare_runs(request: HttpRequest) -> HttpResponse:
    """``?run=`` two to five runs, in the order of the address; ``all`` shows settings in which they agree too."""
    asked = dict.fromkeys(int(text) for text in request.GET.getlist("run") if is_number(text))
    found = selectors.list_runs().in_bulk(list(asked)[:50])
    runs = [found[number] for number in asked if number in found]
    too_many, runs = len(runs) > MOST_RUNS, runs[:MOST_RUNS]
    series = [selectors.get_metric_series(run=run) for run in runs]
    settings = list(_list_settings(runs))
    show_all = "all" in request.GET
    context = {
        "runs": list(zip(runs, LOOKS, strict=False)),
        "too_many": too_many,
        "charts": list_charts(runs, series),
        "across": [("step", _("steps")), ("tokens", _("tokens")), ("time", _("time"))],
        "origins": list(_list_origins(runs)),
        "settings": [line for line in settings if show_all or line.differs],
        "agreeing": sum(not line.differs for line in settings),
        "show_all": show_all,
        "results": list(_list_results(runs, series)),
    }
    return render(request, "training/run_compare.html", context)


def list_offers(run: Run) -> list[Run]:
    """What a run's page offers to set beside it."""
    return list(selectors.list_comparable_runs(run)[:MOST_OFFERED])


def list_charts(runs: Sequence[Run], series: Sequence[MetricSeries]) -> list[Chart]:
    """One chart for each metric that any of them has, with a curve for each that does."""
    charts = []
    for key in COMPARED:
        curves = [
            Curve(key, run.name, look, smooth=not key.startswith("eval_") and key != "learning_rate", of=str(run.pk))
            for run, each, look in zip(runs, series, LOOKS, strict=False)
            if key in each.values
        ]
        if curves:
            rates = key.endswith("accuracies")
            digits = 8 if key == "learning_rate" else 3
            charts.append(
                Chart(name_metric(key), curves, digits, line=0.5 if rates else None, ends=(0, 1) if rates else None)
            )
    return charts


def _list_origins(runs: Sequence[Run]) -> Iterator[Line]:
    """What they were made of: the data first, since runs on other data are hardly comparable."""
    versions = [run.dataset_version for run in runs]
    links = [reverse("dataset_detail", args=[version.pk]) for version in versions]
    yield Line(_("Dataset version"), [Cell(str(each), url) for each, url in zip(versions, links, strict=True)])
    yield Line(
        _("Training + held-out pairs"), [Cell(f"{each.train_rows or 0} + {each.eval_rows or 0}") for each in versions]
    )
    bases = [run.base_model for run in runs]
    yield Line(_("Base model"), [Cell(base.name, reverse("model_detail", args=[base.pk])) for base in bases])
    yield Line(_("Method"), [Cell(run.get_method_display()) for run in runs])
    recipes = [RECIPES.get(run.recipe) for run in runs]
    yield Line(_("Recipe"), [Cell(_(recipe.title) if recipe else "–") for recipe in recipes])


def _list_settings(runs: Sequence[Run]) -> Iterator[Line]:
    """Every setting that any of the methods has, in the order of the first."""
    used = [{setting.label: setting.text for setting in outcome.list_used_settings(run)} for run in runs]
    for label in dict.fromkeys(label for each in used for label in each):
        yield Line(label, [Cell(each.get(label, "–")) for each in used])


def _list_results(runs: Sequence[Run], series: Sequence[MetricSeries]) -> Iterator[Line]:
    """States, then figures with intervals where there are any, then the ends of the curves."""
    yield Line(_("State"), [Cell(str(run.get_state_display())) for run in runs])
    yield Line(_("Steps"), [Cell(intcomma(run.step)) for run in runs])
    yield Line(_("Duration"), [Cell("–", seconds=outcome.measure_seconds(run)) for run in runs])
    accuracies = [outcome.describe_accuracies(run.result) for run in runs]
    for label in dict.fromkeys(accuracy.label for each in accuracies for accuracy in each):
        found = [next((one for one in each if one.label == label), None) for each in accuracies]
        yield Line(f"{label}: {outcome.name_accuracy()}", [Cell(outcome.show_accuracy(one)) for one in found])
    for key in COMPARED:
        ends = [_find_end(key, each) for each in series]
        if any(end is not None for end in ends):
            yield Line(name_metric(key), [Cell(show_metric(key, end)) for end in ends])


def _find_end(key: str, series: MetricSeries) -> float | None:
    """The last value; of noisy curves the end of the running mean, as it is drawn."""
    points = zip(series.values.get(key, []), series.counts, strict=False)
    pairs = [(value, count) for value, count in points if value is not None]
    if not pairs:
        return None
    values, counts = [value for value, _count in pairs], [count for _value, count in pairs]
    return values[-1] if key.startswith("eval_") or key == "learning_rate" else smooth(values, counts)[-1]
