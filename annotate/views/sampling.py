"""Pages of sampling: sending models to work on a project's prompts, watching them, and reading what they wrote."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.models import Project, SamplingJob
from annotate.permissions import admin_required, get_labeler, get_project_or_404
from annotate.sampling_forms import NEW, UNSAMPLED, SamplingForm, ScoringForm
from annotate.selectors import sampling as selectors
from annotate.services import sampling as services
from annotate.services.sampling import SamplingError, start_sampling
from annotate.services.scoring import ScoringError, start_scoring
from models_registry import leases
from models_registry.models import ModelKind

RESULTS_ON_PAGE = 20
FIELD_OF = {"prompts": "prompts_from", "new_prompts": "text"}


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def list_sampling(request: HttpRequest, slug: str) -> HttpResponse:
    """The form and the project's jobs; htmx asks for the jobs alone."""
    project = get_project_or_404(request.user, slug)
    form = SamplingForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        job = _start(request, project, form)
        if job:
            return redirect("sampling_detail", job.pk)
    context = _describe_jobs(project)
    if "HX-Request" in request.headers and request.method == "GET":
        return render(request, "annotate/_sampling_jobs.html", context)
    any_model = selectors.list_ready_models(ModelKind.POLICY).exists()
    context |= {"form": form, "any_model": any_model} | _describe_scoring(project)
    return render(request, "annotate/sampling_list.html", context, status=422 if form.errors else 200)


@admin_required
@require_safe
@never_cache
def show_sampling(request: HttpRequest, pk: int) -> HttpResponse:
    job = get_object_or_404(selectors.list_sampling_jobs(), pk=pk)
    return render(request, "annotate/sampling_detail.html", {"job": job} | _describe_results(request, job))


@admin_required
@require_safe
@never_cache
def show_sampling_status(request: HttpRequest, pk: int) -> HttpResponse:
    """The state, and the results once they are there; asked for until the job is over."""
    job = get_object_or_404(selectors.list_sampling_jobs(), pk=pk)
    context = {"job": job, "oob": True, "changed": request.GET.get("state") != job.state}
    if job.is_over:
        context |= _describe_results(request, job)
    return render(request, "annotate/_sampling_update.html", context)


@admin_required
@require_POST
def cancel_sampling(request: HttpRequest, pk: int) -> HttpResponse:
    job = get_object_or_404(SamplingJob, pk=pk)
    try:
        services.cancel_sampling(job=job, by=get_labeler(request))
    except leases.CannotCancel as error:
        messages.error(request, str(error))
    return redirect("sampling_detail", pk)


@admin_required
@require_POST
def retry_sampling(request: HttpRequest, pk: int) -> HttpResponse:
    job = get_object_or_404(SamplingJob, pk=pk)
    try:
        services.retry_sampling(job=job, by=get_labeler(request))
    except leases.CannotRetry as error:
        messages.error(request, str(error))
    return redirect("sampling_detail", pk)


@admin_required
@require_POST
def start_scores(request: HttpRequest, slug: str) -> HttpResponse:
    """Sends a reward model over the responses of the project."""
    project = get_project_or_404(request.user, slug)
    form = ScoringForm(request.POST)
    if form.is_valid():
        try:
            start_scoring(project=project, model=form.cleaned_data["model"], by=get_labeler(request))
            messages.success(request, _("The responses are being scored."))
        except ScoringError as error:
            messages.error(request, str(error))
    else:
        messages.error(request, _("Choose one of the listed reward models."))
    return redirect("sampling_list", slug)


@admin_required
@require_safe
@never_cache
def show_scoring_status(request: HttpRequest, slug: str) -> HttpResponse:
    project = get_project_or_404(request.user, slug)
    return render(request, "annotate/_scoring.html", {"project": project} | _describe_scoring(project))


def _start(request: HttpRequest, project: Project, form: SamplingForm) -> SamplingJob | None:
    values = dict(form.cleaned_data)
    source, text, limit = (values.pop(name) for name in ("prompts_from", "text", "limit"))
    if source == NEW:
        values["new_prompts"] = [text]
    else:
        values["prompts"] = selectors.list_prompts(project, unsampled=source == UNSAMPLED, limit=limit)
        if not values["prompts"]:
            form.add_error("prompts_from", _("The project has no such prompt."))
            return None
    try:
        return start_sampling(project=project, by=get_labeler(request), **values)
    except SamplingError as error:
        field = FIELD_OF.get(error.field, error.field)
        form.add_error(field if field in form.fields else None, str(error))
        return None


def _describe_jobs(project: Project) -> dict[str, Any]:
    jobs = list(selectors.list_sampling_jobs(project)[: selectors.MAX_SHOWN])
    return {"project": project, "jobs": jobs, "any_active": any(not job.is_over for job in jobs)}


def _describe_scoring(project: Project) -> dict[str, Any]:
    jobs = list(selectors.list_scoring_jobs(project)[:3])
    form = ScoringForm() if selectors.list_ready_models(ModelKind.REWARD).exists() else None
    return {"scoring_jobs": jobs, "scoring_active": any(not job.is_over for job in jobs), "scoring_form": form}


def _describe_results(request: HttpRequest, job: SamplingJob) -> dict[str, Any]:
    page = Paginator(selectors.list_results(job), RESULTS_ON_PAGE).get_page(request.GET.get("page"))
    results = [{"prompt": pair.prompt, "sides": (pair.response_a, pair.response_b)} for pair in page]
    return {"page": page, "results": results}
