"""Sampling: two responses for each prompt, from one model or two, which become comparisons in the queue."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from annotate.models import AuditAction, Comparison, Project, Prompt, ResponseScore, SamplingJob
from annotate.services.audit import record
from annotate.services.comparisons import NewComparison, NewResponse, create_comparisons, explain_axis
from annotate.services.prompts import PromptError, get_or_create_prompts
from annotate.services.scoring import score_rows, write_rows
from models_registry import depot, leases
from models_registry.models import LeasedWork, ModelKind, ModelVersion
from models_registry.services import hold_models
from models_registry.supervisor import ProgramJob, Supervisor

MAX_PROMPTS = 1000
"""Of one job: its results are filed in one transaction."""

MAX_SEED = 2**31 - 1
"""What PostgreSQL's column holds; SQLite would take more."""

RECIPE_FIELDS = (
    "model_a",
    "model_b",
    "temperature_a",
    "temperature_b",
    "top_p",
    "max_new_tokens",
    "seed",
    "ask_first",
    "reward_model",
)
"""What a person chooses of a job besides its prompts, on the page and in the API alike."""

_SAME = "both responses are the same text"


class SamplingError(ValueError):
    """A sampling job cannot start; ``field`` names what to change."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@transaction.atomic
def start_sampling(
    *,
    project: Project,
    prompts: Sequence[Prompt] = (),
    new_prompts: Sequence[Any] = (),
    model_a: ModelVersion,
    model_b: ModelVersion,
    temperature_a: float = 0.7,
    temperature_b: float = 1.0,
    top_p: float = 0.95,
    max_new_tokens: int = 128,
    seed: int = 0,
    ask_first: bool = True,
    reward_model: ModelVersion | None = None,
    by: User,
) -> SamplingJob:
    """Queues a job for ``prompts`` of the project and ``new_prompts`` (texts, or lists of messages), each once.

    Raises SamplingError.
    """
    if project.parent_id:
        raise SamplingError("prompts", explain_axis())
    hold_models(model_a, model_b, reward_model)
    _check_models(model_a, model_b, reward_model)
    if model_a == model_b and temperature_a == temperature_b == 0:
        raise SamplingError("temperature_b", _("One model at temperature 0 gives the same response twice."))
    if any(prompt.project_id != project.pk for prompt in prompts):
        raise SamplingError("prompts", _("A prompt belongs to another project."))
    chosen = {prompt.pk: prompt for prompt in [*prompts, *_enter_prompts(project, new_prompts)]}
    if not 1 <= len(chosen) <= MAX_PROMPTS:
        words = {"most": MAX_PROMPTS, "count": len(chosen)}
        raise SamplingError("prompts", _("Choose from 1 to %(most)d prompts; these are %(count)d.") % words)
    job = SamplingJob(
        project=project,
        model_a=model_a,
        model_b=model_b,
        temperature_a=temperature_a,
        temperature_b=temperature_b,
        top_p=top_p,
        max_new_tokens=max_new_tokens,
        seed=seed,
        ask_first=ask_first,
        reward_model=reward_model,
        total_steps=2 * len(chosen),
        created_by=by,
    )
    try:
        job.clean_fields(exclude=["lease_until", "report", "project", "model_a", "model_b", "reward_model"])
    except ValidationError as error:
        field, reasons = next(iter(error.message_dict.items()))
        raise SamplingError(field, " ".join(reasons)) from error
    job.save()
    job.prompts.set(chosen.values())
    leases.enqueue(job)
    what = {"models": [model_a.name, model_b.name], "prompts": len(chosen)}
    record(AuditAction.SAMPLING_STARTED, project=project, by=by, about=job, after=what)
    return job


@transaction.atomic
def cancel_sampling(*, job: SamplingJob, by: User) -> None:
    """Ends a job; nothing of it becomes a comparison. Raises leases.CannotCancel."""
    if leases.request_cancel(job):
        record(AuditAction.SAMPLING_CANCELLED, project=job.project, by=by, about=job)


@transaction.atomic
def retry_sampling(*, job: SamplingJob, by: User) -> None:
    """A job that failed or was cancelled waits for a worker again. Raises leases.CannotRetry."""
    needed = [model for model in (job.model_a, job.model_b, job.reward_model) if model]
    hold_models(*needed)
    if gone := next((model for model in needed if model.weights_removed_at), None):
        raise leases.CannotRetry(gone.explain_unusable())
    leases.retry(job)
    record(AuditAction.SAMPLING_RETRIED, project=job.project, by=by, about=job)


def sample_responses(work: SamplingJob, supervisor: Supervisor) -> None:
    """Runs the programs and files what came of them in one transaction under the lease."""
    prompts = {prompt.pk: prompt for prompt in work.prompts.all()}
    job = ProgramJob(
        ["-m", "models_registry.inference.generate"],
        {"prompts": "prompts.jsonl", "samplers": _build_samplers(work)},
        write_inputs=_write_inputs(work, prompts.values()),
    )
    folder = work.attempt_folder / "generate"
    depot.bring_models(work, work.model_a, work.model_b, work.reward_model)
    supervisor.run(job, folder)
    answers, left_out = _read_pairs(folder / "responses.jsonl", prompts)
    if not answers:
        reasons = "; ".join(f"{reason} ({count})" for reason, count in left_out.items())
        raise leases.WorkFailed("no_pairs", f"No prompt got two different responses: {reasons or 'none was sampled'}.")
    scores = _score_answers(work, supervisor, prompts, answers)
    with transaction.atomic():
        leases.finish(work, message=_summarise(len(answers), left_out))
        new = [
            NewComparison(
                prompts[key],
                _build_response(work, 0, first),
                _build_response(work, 1, second),
                priority=int(work.ask_first),
            )
            for key, (first, second) in answers.items()
        ]
        _file_scores(work, create_comparisons(project=work.project, new=new, sampling_job=work), scores)
    shutil.rmtree(work.folder, ignore_errors=True)


def copy_from_earlier(work: LeasedWork, name: str, target: Path) -> None:
    """What an interrupted attempt had done already; the program drops a torn last line and goes on from there."""
    for epoch in range(work.epoch - 1, 0, -1):
        earlier = work.folder / f"attempt-{epoch}" / name
        if earlier.exists():
            shutil.copyfile(earlier, target)
            return


def _check_models(model_a: ModelVersion, model_b: ModelVersion, reward_model: ModelVersion | None) -> None:
    for field, model, kind in (
        ("model_a", model_a, ModelKind.POLICY),
        ("model_b", model_b, ModelKind.POLICY),
        ("reward_model", reward_model, ModelKind.REWARD),
    ):
        if model is None:
            continue
        if unusable := model.explain_unusable():
            raise SamplingError(field, unusable)
        if model.kind != kind:
            words = {"model": model, "kind": kind.label.lower()}
            raise SamplingError(field, _("%(model)s is not a %(kind)s.") % words)


def _enter_prompts(project: Project, new_prompts: Sequence[Any]) -> list[Prompt]:
    dialogues = [[{"role": "user", "content": new}] if isinstance(new, str) else new for new in new_prompts]
    try:
        return get_or_create_prompts(project=project, dialogues=dialogues)
    except PromptError as error:
        raise SamplingError("new_prompts", str(error)) from error


def _build_samplers(work: SamplingJob) -> list[dict[str, Any]]:
    shared = {"top_p": work.top_p, "max_new_tokens": work.max_new_tokens, "seed": work.seed}
    sides = [("a", work.model_a, work.temperature_a), ("b", work.model_b, work.temperature_b)]
    return [
        {"model": str(model.folder), "label": label, "temperature": temperature} | shared
        for label, model, temperature in sides
    ]


def _write_inputs(work: SamplingJob, prompts: Iterable[Prompt]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_rows(folder / "prompts.jsonl", ({"id": prompt.pk, "messages": prompt.messages} for prompt in prompts))
        copy_from_earlier(work, "generate/responses.jsonl", folder / "responses.jsonl")

    return write


def _read_pairs(path: Path, prompts: dict[int, Prompt]) -> tuple[dict[int, list[dict[str, Any]]], Counter[str]]:
    """Two answers by prompt where there are two different ones, and why the others were left out."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for row in read_lines(path):
        found[row["prompt_id"], row["sampler"]] = row
    pairs: dict[int, list[dict[str, Any]]] = {}
    left_out = Counter[str]()
    for key in prompts:
        pair = [found.get((key, sampler), {"error": "no response came back"}) for sampler in (0, 1)]
        error = next((answer["error"] for answer in pair if "error" in answer), None)
        if error is None and pair[0]["text"] == pair[1]["text"]:
            error = _SAME
        if error is None:
            pairs[key] = pair
        else:
            left_out[error] += 1
    return pairs, left_out


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _score_answers(
    work: SamplingJob, supervisor: Supervisor, prompts: dict[int, Prompt], answers: dict[int, list[dict[str, Any]]]
) -> dict[str, float]:
    """The reward model's scores by ``<prompt>:<sampler>``; empty when none was asked for."""
    if work.reward_model is None:
        return {}
    rows = [
        {"id": f"{key}:{sampler}", "messages": prompts[key].messages, "response": answer["text"]}
        for key, pair in answers.items()
        for sampler, answer in enumerate(pair)
    ]
    return score_rows(work, supervisor, work.reward_model, rows, folder=work.attempt_folder / "score")


def _build_response(work: SamplingJob, side: int, answer: dict[str, Any]) -> NewResponse:
    sampling = {
        "temperature": (work.temperature_a, work.temperature_b)[side],
        "top_p": work.top_p,
        "max_new_tokens": work.max_new_tokens,
    }
    reported = {name: answer.get(name) for name in ("seed", "tokens", "finish", "seconds")}
    model = (work.model_a, work.model_b)[side]
    return NewResponse(leases.clean_text(answer["text"]), model=model, sampling=sampling | reported)


def _file_scores(work: SamplingJob, comparisons: list[Comparison], scores: dict[str, float]) -> None:
    if work.reward_model is None:
        return
    sides = [
        (f"{comparison.prompt_id}:{sampler}", response)
        for comparison in comparisons
        for sampler, response in enumerate((comparison.response_a, comparison.response_b))
    ]
    ResponseScore.objects.bulk_create(
        [
            ResponseScore(response=response, model=work.reward_model, score=scores[key])
            for key, response in sides
            if key in scores
        ],
        batch_size=400,
    )


def _summarise(made: int, left_out: Counter[str]) -> str:
    text = f"{made} {'comparison' if made == 1 else 'comparisons'}"
    if left_out:
        reasons = "; ".join(f"{reason} ({count})" for reason, count in left_out.most_common())
        text += f"; {left_out.total()} left out: {reasons}"
    return text[:500]
