"""Pages of the runs: the list, one run with its live fragments, its log, and stopping or resuming it."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_POST, require_safe

from annotate.permissions import admin_required, get_labeler
from models_registry import notices
from models_registry.models import WorkState
from models_registry.store import StoreError
from training import limits, selectors, services
from training.accelerate_config import show_launch
from training.checkpoints import fetch_log
from training.forms import LimitsForm
from training.models import Run, RunShare
from training.placement import explain_wait
from training.placing import PriorityForm
from training.run_search import RunSearch
from training.run_tags import BadTags, set_tags, split_tags
from training.views import alerts, curves, evaluation, outcome
from training.views.comparison import list_offers
from training.views.launch import is_number

RUNS_ON_PAGE = 50
LOG_LINES = 200
PLAIN_TEXT = "text/plain; charset=utf-8"


@admin_required
@require_safe
@never_cache
def list_runs(request: HttpRequest) -> HttpResponse:
    """The table of runs. Filters, order and page stand in the address; ``run`` are those ticked for a comparison."""
    search = RunSearch(request.GET)
    page = Paginator(search.find_runs(), RUNS_ON_PAGE).get_page(request.GET.get("page"))
    address = request.GET.copy()
    address.pop("run", None)
    context = {
        "search": search,
        "page": page,
        "rows": [outcome.describe_row(run) for run in page],
        "ticked": [int(text) for text in request.GET.getlist("run") if is_number(text)],
        "heads": outcome.list_heads(search["sort"].value() or ""),
        "address": address.urlencode(),
        "any_active": any(not run.is_at_rest for run in page),
        "archived": search.cleaned_data.get("archived", False),
        "archived_count": Run.objects.exclude(archived_at=None).count(),
        "any_run": page.paginator.count or Run.objects.exists(),
    }
    template = "training/_run_table.html" if "HX-Request" in request.headers else "training/run_list.html"
    return render(request, template, context)


@admin_required
@require_safe
@never_cache
def show_run(request: HttpRequest, pk: int) -> HttpResponse:
    run = get_object_or_404(selectors.list_runs().select_related("archived_by"), pk=pk)
    context = _describe_run(run) | _describe_end(run)
    context |= {
        "charts": curves.list_charts(run.method, context["logged"]),
        "is_following": notices.is_following(get_labeler(request), run),
        "usage_charts": curves.list_usage_charts(run),
        "launcher": show_launch(run.layout),
        "settings_used": outcome.list_used_settings(run),
        "origin": outcome.list_origin(run),
        "changes": outcome.describe_changes(run.cloned_from, run) if run.cloned_from else [],
        "offers": list_offers(run),
    }
    return render(request, "training/run_detail.html", context)


@admin_required
@require_safe
@never_cache
def show_run_status(request: HttpRequest, pk: int) -> HttpResponse:
    """What changed since the page was drawn or last asked (``state``, ``log``); asked for until the run is over."""
    run = get_object_or_404(selectors.list_runs(), pk=pk)
    context = _describe_run(run)
    if run.is_at_rest:
        context |= _describe_end(run)
    changed = request.GET.get("state") != run.state
    if changed and run.is_at_rest:
        messages.info(request, _("%(run)s: %(state)s") % {"run": run.name, "state": run.get_state_display()})
    context |= {"oob": True, "state_changed": changed, "log_changed": request.GET.get("log") != context["log_mark"]}
    return render(request, "training/_run_update.html", context)


@admin_required
@require_safe
@never_cache
@gzip_page
def read_metrics(request: HttpRequest, pk: int) -> HttpResponse:
    """JSON for the curves: what came ``after`` a step, or from ``first`` to ``last``, in about ``points`` points.

    Another ``attempt`` means that some steps were done again, another ``width`` than the one asked for that points of
    so few steps would be too many: then all has to be asked for anew.
    """
    run = get_object_or_404(Run, pk=pk)
    read = {name: _read_number(request.GET.get(name, "")) for name in ("after", "first", "last", "points", "width")}
    first = read["first"] if read["after"] is None else read["after"] + 1
    width = read["width"] or 0
    series = selectors.get_metric_series(
        run=run,
        first=first or 0,
        last=read["last"],
        points=min(max(read["points"] or selectors.MAX_POINTS, 50), 2000),
        width=width if width.bit_count() == 1 else 0,
    )
    return JsonResponse({"attempt": run.epoch, "over": run.is_at_rest, **vars(series)})


@admin_required
@require_safe
def read_metrics_csv(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """Every value of a run as a file: a row for each step."""
    run = get_object_or_404(Run, pk=pk)
    lines = curves.write_csv(selectors.list_metric_names(run), selectors.iterate_metrics(run))
    headers = {"Content-Disposition": f'attachment; filename="run-{run.pk}-metrics.csv"'}
    return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8", headers=headers)


@admin_required
@require_safe
@never_cache
def read_log(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The whole log where it is on this machine or in the store, else the tail in the database; as plain text."""
    run = get_object_or_404(Run, pk=pk)
    try:
        return FileResponse(fetch_log(run).open("rb"), filename=f"run-{run.pk}.txt", content_type=PLAIN_TEXT)
    except (OSError, StoreError):
        return HttpResponse(run.log_tail, content_type=PLAIN_TEXT)


@admin_required
@require_safe
@never_cache
def read_share_log(request: HttpRequest, pk: int, rank: int) -> HttpResponse:
    """The end of what a further machine of the present attempt wrote; as plain text."""
    run = get_object_or_404(Run, pk=pk)
    share = get_object_or_404(RunShare, run=run, run_epoch=run.epoch, rank=rank)
    return HttpResponse(share.log_tail, content_type=PLAIN_TEXT)


@admin_required
@require_POST
def move_run(request: HttpRequest, pk: int, move: str) -> HttpResponse:
    """Cancels, pauses, resumes or retries; why it cannot be done is said on the run's page."""
    run = get_object_or_404(Run, pk=pk)
    try:
        services.MOVES[move](run=run, by=get_labeler(request))
    except services.REFUSALS as error:
        messages.error(request, str(error))
    return redirect("run_detail", pk)


@admin_required
@require_POST
def follow_run(request: HttpRequest, pk: int) -> HttpResponse:
    """Who follows a run is told what becomes of it, as its launcher is."""
    notices.follow(get_labeler(request), get_object_or_404(Run, pk=pk), on="on" in request.POST)
    return redirect("run_detail", pk)


@admin_required
@require_POST
def change_limits(request: HttpRequest, pk: int) -> HttpResponse:
    """Of a run that was launched; a paused one may then be resumed."""
    run = get_object_or_404(Run, pk=pk)
    form = LimitsForm(request.POST)
    errors = [] if form.is_valid() else [(name, str(texts[0])) for name, texts in form.errors.items()]
    if not errors:
        try:
            services.change_limits(run=run, by=get_labeler(request), **form.cleaned_data)
        except services.LaunchErrors as wrong:
            errors = wrong.errors
    for name, reason in errors:
        messages.error(request, f"{form.fields[name].label}: {reason}")
    return redirect("run_detail", pk)


@admin_required
@require_safe
@never_cache
def read_usage(request: HttpRequest, pk: int) -> HttpResponse:
    """JSON for the curves of processors, memory, disk and GPUs, by seconds of active training; bytes as GB."""
    run = get_object_or_404(Run, pk=pk)
    after = _read_number(request.GET.get("after", ""))
    series = limits.get_usage_series(run, after=-1 if after is None else after)
    values = {name: curves.scale_usage(name, column) for name, column in series["values"].items()}
    shape = {"attempt": 0, "over": run.is_at_rest, "width": 1}  # time goes on from attempt to attempt
    return JsonResponse({**shape, "steps": series["seconds"], "values": values})


@admin_required
@require_POST
def tag_run(request: HttpRequest, pk: int) -> HttpResponse:
    run = get_object_or_404(Run.objects.select_related("dataset_version__project"), pk=pk)
    try:
        set_tags(run=run, names=split_tags(request.POST.get("tags", "")), by=get_labeler(request))
    except BadTags as error:
        messages.error(request, str(error))
    return redirect("run_detail", pk)


def _describe_run(run: Run) -> dict[str, Any]:
    """What changes while a run is under way; asked for often, so it reads little."""
    last = selectors.get_last_metrics(run=run)
    log = "\n".join(run.log_tail.rstrip().rsplit("\n", LOG_LINES)[-LOG_LINES:])
    return {
        "run": run,
        "priority_form": PriorityForm(initial={"priority": run.priority}),
        "hindrance": explain_wait(run.ask, run.hosts) if run.state == WorkState.QUEUED else "",
        "seconds": outcome.measure_seconds(run),
        "figures": curves.list_figures(curves.list_rows(last)),
        "logged": last.values.keys(),
        "alerts": alerts.list_alerts(run),
        "log": log,
        "machines": outcome.list_machines(run),
        "limits_form": LimitsForm(initial={"limit_hours": run.limit_hours, "limit_gb": run.limit_gb}),
        "remedy": outcome.describe_remedy(run),
        "log_mark": f"{crc32(log.encode()):x}",
    }


def _describe_end(run: Run) -> dict[str, Any]:
    """What came of a run, as far as it has come, and its values as a table."""
    return {
        "table": curves.tabulate_metrics(curves.list_rows(selectors.get_metric_series(run=run))),
        "accuracies": outcome.describe_accuracies(run.result),
        "plots": evaluation.list_plots(run.result),
        "splits": outcome.describe_splits(run.result),
        "outcome": outcome.list_outcome(run.result),
        "result_notes": run.result.get("notes", []),
    }


def _read_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
