"""Reading what models were asked and what they answered."""

from __future__ import annotations

from django.db.models import Count, Exists, OuterRef, Prefetch, QuerySet

from annotate.models import Comparison, Project, Prompt, Response, ResponseScore, SamplingJob, ScoringJob
from models_registry.models import ModelVersion
from models_registry.selectors import list_usable

MAX_SHOWN = 30


def list_ready_models(kind: str) -> QuerySet[ModelVersion]:
    """Models of a kind that can be asked, newest first."""
    return list_usable().filter(kind=kind)


def list_sampling_jobs(project: Project | None = None) -> QuerySet[SamplingJob]:
    """Jobs, newest first, each with ``prompt_count``."""
    jobs = SamplingJob.objects.select_related("project", "model_a", "model_b", "reward_model", "created_by")
    jobs = jobs.defer("log_tail").annotate(prompt_count=Count("prompts")).order_by("-created_at", "-pk")
    return jobs.filter(project=project) if project else jobs


def list_scoring_jobs(project: Project) -> QuerySet[ScoringJob]:
    return ScoringJob.objects.filter(project=project).select_related("model").defer("log_tail")


def list_prompts(project: Project, *, unsampled: bool, limit: int) -> list[Prompt]:
    """The newest prompts; with ``unsampled`` only those that no model of the registry has answered yet."""
    prompts = Prompt.objects.filter(project=project).order_by("-pk")
    if unsampled:
        answered = Response.objects.filter(prompt=OuterRef("pk"), model__isnull=False)
        prompts = prompts.filter(~Exists(answered))
    return list(prompts[:limit])


def list_results(job: SamplingJob) -> QuerySet[Comparison]:
    """The comparisons that a job made, with prompt, responses, models and scores."""
    scored = Response.objects.select_related("model").prefetch_related(
        Prefetch("scores", ResponseScore.objects.select_related("model").order_by("pk"))
    )
    return (
        job.comparisons.filter(original=None)
        .select_related("prompt")
        .prefetch_related(Prefetch("response_a", scored), Prefetch("response_b", scored))
        .order_by("pk")
    )
