"""Reading a project's comparisons with their effective votes, in order, in constant memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Exists, Max, OuterRef, QuerySet

from annotate.exporting.aggregate import Vote
from annotate.models import Comparison, Judgment, Project

_CHUNK = 1000


@dataclass(frozen=True)
class Cutoff:
    """What existed when a version was frozen: nothing with a higher number counts."""

    judgment: int
    comparison: int


@dataclass(frozen=True)
class Candidate:
    """``comparison`` is None where nothing was said of it: then its texts were not even read."""

    comparison: Comparison | None
    votes: list[Vote]


def read_cutoff(project: Project) -> Cutoff:
    """The numbers of the newest judgment and comparison; 0 where there is none."""
    judgment = Judgment.objects.filter(project=project).aggregate(last=Max("pk"))["last"]
    comparison = Comparison.objects.filter(project=project).aggregate(last=Max("pk"))["last"]
    return Cutoff(judgment=judgment or 0, comparison=comparison or 0)


def select_votes(project: Project, judgment_cutoff: int) -> QuerySet[Judgment]:
    """The votes that stood at the cutoff: neither undone nor superseded by then."""
    later = Judgment.objects.filter(supersedes=OuterRef("pk"), pk__lte=judgment_cutoff)
    votes = Judgment.objects.filter(project=project, action=Judgment.Action.VOTE, pk__lte=judgment_cutoff)
    return votes.filter(~Exists(later))


def iterate_candidates(project: Project, cutoff: Cutoff, *, recorded: bool) -> Iterator[Candidate]:
    """Every comparison up to the cutoff, by number, with its votes by number; three queries for each thousand.

    Texts are read only where they may be needed: where there are votes or, if ``recorded``, an imported winner.
    """
    last = 0
    comparisons = project.comparisons.filter(pk__lte=cutoff.comparison).order_by("pk")
    while chunk := list(comparisons.filter(pk__gt=last).values_list("pk", "recorded_winner")[:_CHUNK]):
        first, last = chunk[0][0], chunk[-1][0]
        votes = {} if recorded else _read_votes(project, cutoff, first, last)
        wanted = [pk for pk, winner in chunk if (winner if recorded else pk in votes)]
        loaded = Comparison.objects.select_related("prompt", "response_a", "response_b").in_bulk(wanted)
        for pk, _winner in chunk:
            yield Candidate(loaded.get(pk), votes.get(pk, []))


def _read_votes(project: Project, cutoff: Cutoff, first: int, last: int) -> dict[int, list[Vote]]:
    votes: defaultdict[int, list[Vote]] = defaultdict(list)
    rows = select_votes(project, cutoff.judgment).filter(comparison_id__gte=first, comparison_id__lte=last)
    columns = ("comparison_id", "pk", "labeler_id", "winner", "grade", "left_response", "surplus")
    for comparison_id, *values in rows.order_by("pk").values_list(*columns):
        votes[comparison_id].append(Vote(*values))
    return dict(votes)
