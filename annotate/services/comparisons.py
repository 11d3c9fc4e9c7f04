"""Comparisons: two responses to one prompt, to be judged by a number of labelers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from annotate.models import Comparison, Import, Project, Prompt, Response, SamplingJob
from models_registry.models import ModelVersion

_BATCH = 400


class ComparisonError(ValueError):
    """These two responses cannot be compared; the text says why."""


@dataclass(frozen=True)
class NewResponse:
    """A response that is not yet stored: its text and where it came from."""

    text: str
    model: ModelVersion | None = None
    origin: str = ""
    sampling: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NewComparison:
    """A comparison that is not yet stored."""

    prompt: Prompt
    response_a: NewResponse
    response_b: NewResponse
    recorded_winner: str = ""
    priority: int = 0


def create_comparison(
    *,
    project: Project,
    prompt: Prompt,
    response_a: NewResponse,
    response_b: NewResponse,
    recorded_winner: str = "",
    priority: int = 0,
    need: int | None = None,
    source_import: Import | None = None,
    sampling_job: SamplingJob | None = None,
) -> Comparison:
    """Stores two responses and the pair of them; see create_comparisons."""
    new = NewComparison(prompt, response_a, response_b, recorded_winner, priority)
    return create_comparisons(
        project=project, new=[new], need=need, source_import=source_import, sampling_job=sampling_job
    )[0]


@transaction.atomic
def create_comparisons(
    *,
    project: Project,
    new: Iterable[NewComparison],
    need: int | None = None,
    source_import: Import | None = None,
    sampling_job: SamplingJob | None = None,
) -> list[Comparison]:
    """Stores pairs in the order given; ``need`` is the project's votes per comparison unless given.

    Raises ComparisonError for a prompt of another project or two equal texts: there would be nothing to judge.
    """
    pairs = list(new)
    for pair in pairs:
        _check_pair(project, pair)
    responses = Response.objects.bulk_create(
        [_build_response(pair.prompt, side) for pair in pairs for side in (pair.response_a, pair.response_b)],
        batch_size=_BATCH,
    )
    return Comparison.objects.bulk_create(
        [
            Comparison(
                project=project,
                prompt=pair.prompt,
                response_a=first,
                response_b=second,
                need=need or project.votes_per_comparison,
                priority=pair.priority,
                recorded_winner=pair.recorded_winner,
                source_import=source_import,
                sampling_job=sampling_job,
            )
            for pair, (first, second) in zip(pairs, _in_twos(responses), strict=True)
        ],
        batch_size=_BATCH,
    )


def _check_pair(project: Project, pair: NewComparison) -> None:
    if pair.prompt.project_id != project.pk:
        raise ComparisonError(f"Prompt {pair.prompt.pk} belongs to another project.")
    if pair.response_a.text == pair.response_b.text:
        raise ComparisonError("The two responses are the same text.")


def _build_response(prompt: Prompt, new: NewResponse) -> Response:
    return Response(prompt=prompt, text=new.text, model=new.model, origin=new.origin, sampling=new.sampling)


def _in_twos(rows: Sequence[Response]) -> list[tuple[Response, Response]]:
    return list(zip(rows[::2], rows[1::2], strict=True))
