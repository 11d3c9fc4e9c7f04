"""Comparisons: two responses to one prompt, to be judged by a number of labelers.

They enter a project; its axes judge the same pairs, each in rows of its own (mirrors), with sides drawn anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from django.db.models import Case, F, QuerySet, Value, When
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.models import Comparison, Hold, Import, Project, Prompt, Response, SamplingJob
from annotate.services.identity import find_leaks, flag_leaks
from models_registry.models import ModelVersion

_BATCH = 400
_SHARED = ("prompt", "response_a", "response_b", "priority", "source_import", "sampling_job", "hold")
"""What a mirror has from its original; anything else is as in a new comparison."""


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
    """A comparison that is not yet stored; it needs the project's votes per comparison unless ``need`` is given."""

    prompt: Prompt
    response_a: NewResponse
    response_b: NewResponse
    recorded_winner: str = ""
    priority: int = 0
    need: int | None = None


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
    may_hold: bool = True,
) -> Comparison:
    """Stores two responses and the pair of them; see create_comparisons."""
    new = NewComparison(prompt, response_a, response_b, recorded_winner, priority, need)
    return create_comparisons(
        project=project, new=[new], source_import=source_import, sampling_job=sampling_job, may_hold=may_hold
    )[0]


@transaction.atomic
def create_comparisons(
    *,
    project: Project,
    new: Iterable[NewComparison],
    source_import: Import | None = None,
    sampling_job: SamplingJob | None = None,
    may_hold: bool = True,
) -> list[Comparison]:
    """Stores pairs in the order given.

    Each enters the project's axes, too. A pair in which a response names its model is flagged and, where the project
    says so and ``may_hold``, held back. Locks the project's row, so that an axis which is being added misses none.
    Raises ComparisonError for an axis, a prompt of another project, or two equal texts: nothing to judge.
    """
    pairs = list(new)
    if Project.objects.select_for_update(no_key=True).get(pk=project.pk).parent_id:
        raise ComparisonError(explain_axis())
    leaks = find_leaks((pair.response_a.text, pair.response_b.text) for pair in pairs)
    holds = may_hold and project.holds_identity_leaks
    for pair in pairs:
        _check_pair(project, pair)
    responses = Response.objects.bulk_create(
        [_build_response(pair.prompt, side) for pair in pairs for side in (pair.response_a, pair.response_b)],
        batch_size=_BATCH,
    )
    comparisons = Comparison.objects.bulk_create(
        [
            Comparison(
                project=project,
                prompt=pair.prompt,
                response_a=first,
                response_b=second,
                need=0 if holds and number in leaks else pair.need or project.votes_per_comparison,
                hold=Hold.HELD if holds and number in leaks else Hold.NONE,
                held_need=pair.need or project.votes_per_comparison if holds and number in leaks else 0,
                priority=pair.priority,
                recorded_winner=pair.recorded_winner,
                source_import=source_import,
                sampling_job=sampling_job,
            )
            for number, (pair, (first, second)) in enumerate(zip(pairs, _in_twos(responses), strict=True))
        ],
        batch_size=_BATCH,
    )
    flag_leaks({comparisons[number].pk: note for number, note in leaks.items()})
    for axis in project.axes.all():
        mirror_comparisons(axis, Comparison.objects.filter(pk__in=[comparison.pk for comparison in comparisons]))
    return comparisons


def mirror_comparisons(axis: Project, originals: QuerySet[Comparison]) -> int:
    """Puts pairs of the parent before the axis's labelers, none taken yet; returns how many.

    Inside the database (INSERT ... SELECT): the rows do not pass through this process, however many they are.
    """
    own: dict[str, F | Value | Case] = {
        "project": Value(axis.pk),
        "original": F("pk"),
        "need": Case(When(hold=Hold.NONE, then=Value(axis.votes_per_comparison)), default=Value(0)),
        "held_need": Case(When(hold=Hold.HELD, then=Value(axis.votes_per_comparison)), default=Value(0)),
        "created_at": Value(timezone.now()),
    }
    fields = [field for field in Comparison._meta.local_concrete_fields if not field.primary_key]
    values: list[F | Value | Case] = [
        F(field.attname) if field.name in _SHARED else own.get(field.name, Value(field.get_default(), field))
        for field in fields
    ]
    rows, parameters = originals.order_by("pk").values_list(*values).query.sql_with_params()
    columns = ", ".join(connection.ops.quote_name(str(field.column)) for field in fields)
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {Comparison._meta.db_table} ({columns}) {rows}", parameters)
        return int(cursor.rowcount)


def explain_axis() -> str:
    """Why nothing can be brought into an axis itself, in words."""
    return _("An axis judges the comparisons of its project; bring new ones in there.")


def _check_pair(project: Project, pair: NewComparison) -> None:
    if pair.prompt.project_id != project.pk:
        raise ComparisonError(f"Prompt {pair.prompt.pk} belongs to another project.")
    if pair.response_a.text == pair.response_b.text:
        raise ComparisonError("The two responses are the same text.")


def _build_response(prompt: Prompt, new: NewResponse) -> Response:
    return Response(prompt=prompt, text=new.text, model=new.model, origin=new.origin, sampling=new.sampling)


def _in_twos(rows: Sequence[Response]) -> list[tuple[Response, Response]]:
    return list(zip(rows[::2], rows[1::2], strict=True))
