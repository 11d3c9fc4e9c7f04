"""The page on which models stand beside each other; its address names them, so it can be kept and sent on."""

from __future__ import annotations

from django.contrib.humanize.templatetags.humanize import intcomma
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from models_registry.permissions import admin_required
from models_registry.selectors import list_models
from training import model_comparison
from training.model_comparison import Compared
from training.views import outcome
from training.views.launch import is_number
from training.views.plots import Table


@admin_required
@require_safe
@never_cache
def compare_models(request: HttpRequest) -> HttpResponse:
    """``?model=`` twice to six times; with fewer the page asks for a choice."""
    asked = [int(text) for text in request.GET.getlist("model") if is_number(text)]
    found = model_comparison.compare_models(asked)
    chosen = {compared.model.pk for compared in found.models}
    is_enough = len(chosen) >= model_comparison.FEWEST
    context = {
        "comparison": found,
        "rows": list(zip(found.models, found.rates, strict=True)),
        "table": tabulate(found.models) if is_enough else None,
        "offers": list_models().filter(archived_at=None),
        "chosen": chosen,
        "too_many": len(dict.fromkeys(asked)) > model_comparison.MOST,
        "most": model_comparison.MOST,
    }
    return render(request, "training/model_comparison.html", context)


def tabulate(compared: list[Compared]) -> Table:
    """A column a model: what it is, what it was measured at, its data, and the settings in which the runs differ."""
    models, runs = [each.model for each in compared], [each.run for each in compared]
    accuracies = [{row.label: row for row in outcome.describe_accuracies(model.metrics)} for model in models]
    settings = [{used.label: used.text for used in outcome.list_used_settings(run)} if run else {} for run in runs]
    rows = [
        [_("Aliases"), *(", ".join(each.aliases) for each in compared)],
        [_("Kind"), *(model.get_kind_display() for model in models)],
        [_("Parameters"), *(intcomma(model.facts.get("parameters") or "") for model in models)],
        [_("Size"), *(_show_size(model.facts.get("bytes") or model.facts.get("size_bytes")) for model in models)],
        [_("Licence"), *(model.licence for model in models)],
        [_("Base model"), *(model.base.name if model.base else "" for model in models)],
        [_("Method"), *(run.get_method_display() if run else "" for run in runs)],
        [_("Dataset"), *(str(run.dataset_version) if run else "" for run in runs)],
        [_("Training pairs"), *(intcomma(run.dataset_version.train_rows) if run else "" for run in runs)],
    ]
    for label in dict.fromkeys(label for each in accuracies for label in each):
        heading = f"{label}: {outcome.name_accuracy()}"
        rows.append([heading, *(outcome.show_accuracy(each.get(label)) for each in accuracies)])
    for label in dict.fromkeys(label for each in settings for label in each):
        texts = [each.get(label, "") for each in settings]
        if len({text for text, run in zip(texts, runs, strict=True) if run}) > 1:
            rows.append([label, *texts])
    shown = [[row[0], *(text or "–" for text in row[1:])] for row in rows if any(row[1:])]
    return Table([_("Model"), *(model.name for model in models)], shown)


def _show_size(size: object) -> str:
    return filesizeformat(size) if isinstance(size, int) else ""
