"""Reading a project's comparisons with their effective votes, in order, in constant memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db.models import Exists, Max, OuterRef, QuerySet

from annotate.exporting.aggregate import Ruling, Vote
from annotate.models import Adjudication, Comparison, Judgment, Project, Response

_CHUNK = 1000


@dataclass(frozen=True)
class Cutoff:
    """What existed when a version was frozen: nothing with a higher number counts."""

    judgment: int
    comparison: int
    adjudication: int = 0


@dataclass(frozen=True)
class Reasons:
    """What a labeler said beside a vote."""

    rationale: str
    tags: list[str]


@dataclass(frozen=True)
class Candidate:
    """``comparison`` is None where nothing was said of it: then its texts were not even read.

    ``rewrites`` by their numbers and ``reasons`` by the judgment's: both empty unless they are asked for.
    """

    comparison: Comparison | None
    votes: list[Vote]
    ruling: Ruling | None = None
    rewrites: dict[int, Response] = field(default_factory=dict)
    reasons: dict[int, Reasons] = field(default_factory=dict)


def read_cutoff(project: Project) -> Cutoff:
    """The numbers of the newest judgment, comparison and adjudication; 0 where there is none."""
    judgment = Judgment.objects.filter(project=project).aggregate(last=Max("pk"))["last"]
    comparison = Comparison.objects.filter(project=project).aggregate(last=Max("pk"))["last"]
    adjudication = Adjudication.objects.filter(project=project).aggregate(last=Max("pk"))["last"]
    return Cutoff(judgment=judgment or 0, comparison=comparison or 0, adjudication=adjudication or 0)


def select_votes(project: Project, judgment_cutoff: int) -> QuerySet[Judgment]:
    """The votes that stood at the cutoff: neither undone nor superseded by then. Gold and repeats never count."""
    later = Judgment.objects.filter(supersedes=OuterRef("pk"), pk__lte=judgment_cutoff)
    votes = Judgment.objects.filter(project=project, action=Judgment.Action.VOTE, pk__lte=judgment_cutoff)
    return votes.filter(~Exists(later), comparison__gold=None, is_repeat=False)


def select_rulings(project: Project, adjudication_cutoff: int) -> QuerySet[Adjudication]:
    """The adjudications that stood at the cutoff."""
    later = Adjudication.objects.filter(supersedes=OuterRef("pk"), pk__lte=adjudication_cutoff)
    return Adjudication.objects.filter(~Exists(later), project=project, pk__lte=adjudication_cutoff)


def iterate_candidates(
    project: Project, cutoff: Cutoff, *, recorded: bool, with_rewrites: bool = False, with_reasons: bool = False
) -> Iterator[Candidate]:
    """Every comparison up to the cutoff but gold, by number, with its votes by number; some queries for each thousand.

    Texts are read only where they may be needed: where there are votes or, if ``recorded``, an imported winner, and
    where somebody adjudicated.
    """
    last = 0
    comparisons = project.comparisons.filter(pk__lte=cutoff.comparison, gold=None).order_by("pk")
    while chunk := list(comparisons.filter(pk__gt=last).values_list("pk", "recorded_winner")[:_CHUNK]):
        first, last = chunk[0][0], chunk[-1][0]
        votes = {} if recorded else _read_votes(project, cutoff, first, last)
        rulings = _read_rulings(project, cutoff, first, last)
        wanted = [pk for pk, winner in chunk if pk in rulings or (winner if recorded else pk in votes)]
        loaded = Comparison.objects.select_related("prompt", "response_a", "response_b").in_bulk(wanted)
        rewrites = _read_rewrites(votes) if with_rewrites else {}
        reasons = _read_reasons(votes) if with_reasons else {}
        for pk, _winner in chunk:
            yield Candidate(loaded.get(pk), votes.get(pk, []), rulings.get(pk), rewrites, reasons)


def _read_votes(project: Project, cutoff: Cutoff, first: int, last: int) -> dict[int, list[Vote]]:
    votes: defaultdict[int, list[Vote]] = defaultdict(list)
    rows = select_votes(project, cutoff.judgment).filter(comparison_id__gte=first, comparison_id__lte=last)
    columns = ("comparison_id", "pk", "labeler_id", "winner", "grade", "left_response", "surplus", "rewrite_id", "safe")
    for comparison_id, *values in rows.order_by("pk").values_list(*columns):
        votes[comparison_id].append(Vote(*values))
    return dict(votes)


def _read_rulings(project: Project, cutoff: Cutoff, first: int, last: int) -> dict[int, Ruling]:
    rows = select_rulings(project, cutoff.adjudication).filter(comparison_id__gte=first, comparison_id__lte=last)
    columns = ("comparison_id", "pk", "winner", "grade", "left_response", "dropped")
    return {comparison_id: Ruling(*values) for comparison_id, *values in rows.values_list(*columns)}


def _read_rewrites(votes: dict[int, list[Vote]]) -> dict[int, Response]:
    return Response.objects.in_bulk([vote.rewrite_id for said in votes.values() for vote in said if vote.rewrite_id])


def _read_reasons(votes: dict[int, list[Vote]]) -> dict[int, Reasons]:
    ids = [vote.judgment_id for said in votes.values() for vote in said]
    found: dict[int, Reasons] = {}
    for start in range(0, len(ids), _CHUNK):
        rows = Judgment.objects.filter(pk__in=ids[start : start + _CHUNK]).values_list("pk", "rationale", "reason_tags")
        found |= {pk: Reasons(rationale, tags) for pk, rationale, tags in rows if rationale or tags}
    return found
