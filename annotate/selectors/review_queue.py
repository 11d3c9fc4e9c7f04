"""What waits for a reviewer: pairs whose votes conflict, open flags, gold that labelers miss; and what was decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count, Exists, F, FloatField, Max, Min, OuterRef, Q, QuerySet, TextChoices
from django.db.models.functions import Abs, Cast, Greatest
from django.utils.translation import gettext_lazy as _

from annotate.models import Adjudication, Comparison, Flag, FlagReason, Grade, Judgment, Project
from annotate.selectors.counted import select_counted
from annotate.selectors.gold import select_gold_votes
from annotate.selectors.pair_words import hold_words

Rows = QuerySet[Any, dict[str, Any]]
"""One row a pair, with its number as ``comparison``, in the order of the queue."""


class Kind(TextChoices):
    CONFLICT = "conflict", _("Conflicts")
    FLAG = "flag", _("Flags")
    GOLD = "gold", _("Gold misses")
    DECIDED = "decided", _("Decided")


@dataclass(frozen=True)
class Wanted:
    """A part of the queue: whose votes or flags, words that stand in prompt or responses, and among which pairs."""

    labeler: User | None = None
    search: str = ""
    among: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Item:
    """A pair as the queue names it. Nothing tells what the votes on it say."""

    comparison: Comparison
    votes: int
    reasons: list[str]
    """Of its open flags, in words."""
    is_decided: bool

    @property
    def opening(self) -> str:
        """The prompt's last turn."""
        return str(self.comparison.prompt.messages[-1]["content"])


def list_rows(project: Project, kind: Kind, wanted: Wanted) -> Rows:
    """Conflicts: the most contested first, then by votes. Flags: the oldest first. Gold: the most missed first."""
    lists = {Kind.CONFLICT: list_conflicts, Kind.FLAG: list_flagged, Kind.GOLD: list_missed, Kind.DECIDED: list_decided}
    return lists[kind](project, wanted)


def list_conflicts(project: Project, wanted: Wanted) -> Rows:
    """Pairs on which some votes name a side and others the other one, or none; the unsure abstain.

    How contested: the squared distance of the leading answer's share from one half, in standard deviations of a coin's
    tosses. Votes of 2 to 2 come before 1 to 1, both before 2 to 1, 3 to 1 and 3 to 0 with one "equally good".
    """
    said = select_counted().filter(project=project)
    said = said.filter(~Exists(Adjudication.objects.filter(comparison=OuterRef("comparison")))).order_by()
    if wanted.labeler:
        theirs = said.filter(comparison=OuterRef("comparison"), labeler=wanted.labeler)
        said = said.filter(Exists(theirs))
    tallies = (
        _narrow(said, project, wanted)
        .values("comparison")
        .annotate(
            a=Count("pk", filter=Q(winner="a")),
            b=Count("pk", filter=Q(winner="b")),
            equal=Count("pk", filter=Q(grade=Grade.EQUAL)),
            both_bad=Count("pk", filter=Q(grade=Grade.BOTH_BAD)),
        )
    )
    contested = Q(a__gt=0, b__gt=0) | (Q(a__gt=0) | Q(b__gt=0)) & (Q(equal__gt=0) | Q(both_bad__gt=0))
    decided = F("a") + F("b") + F("equal") + F("both_bad")
    lead = Cast(2 * Greatest("a", "b", "equal", "both_bad") - decided, FloatField())
    rows: Rows = tallies.filter(contested).order_by(lead * Abs(lead) / decided, -decided, "comparison")
    return rows


def list_flagged(project: Project, wanted: Wanted) -> Rows:
    flags = Flag.objects.filter(comparison__project=project, resolved_at=None)
    if wanted.labeler:
        flags = flags.filter(labeler=wanted.labeler)
    rows: Rows = _narrow(flags, project, wanted).values("comparison").annotate(first=Min("pk")).order_by("first")
    return rows


def list_missed(project: Project, wanted: Wanted) -> Rows:
    """Gold of which votes name another side than the known answer, or none where it names one, most often first."""
    missed = select_gold_votes(project).exclude(winner=F("comparison__gold__winner")).order_by()
    missed = missed.filter(~Exists(Adjudication.objects.filter(comparison=OuterRef("comparison"))))
    if wanted.labeler:
        missed = missed.filter(labeler=wanted.labeler)
    rows: Rows = _narrow(missed, project, wanted).values("comparison").annotate(misses=Count("pk"))
    return rows.order_by("-misses", "comparison")


def list_decided(project: Project, wanted: Wanted) -> Rows:
    """The last decision first."""
    rulings = Adjudication.objects.filter(project=project)
    if wanted.labeler:
        theirs = Judgment.objects.filter(comparison=OuterRef("comparison"), labeler=wanted.labeler)
        rulings = rulings.filter(Exists(theirs))
    rows: Rows = _narrow(rulings, project, wanted).values("comparison").annotate(last=Max("pk")).order_by("-last")
    return rows


def count_kinds(project: Project, wanted: Wanted) -> list[tuple[Kind, int]]:
    return [(kind, list_rows(project, kind, wanted).count()) for kind in Kind]


def find_next(project: Project, kind: Kind, wanted: Wanted, *, after: int) -> int | None:
    """The number of the pair at the head of the queue, but for the one just dealt with."""
    head = list_rows(project, kind, wanted).values_list("comparison", flat=True)[:2]
    return next((number for number in head if number != after), None)


def load_items(rows: list[dict[str, Any]]) -> list[Item]:
    """The pairs of one page: a few queries, however many they are."""
    ids = [row["comparison"] for row in rows]
    comparisons = Comparison.objects.select_related("prompt").in_bulk(ids)
    said = select_counted(with_gold=True).filter(comparison__in=ids)
    votes = dict(said.order_by().values_list("comparison").annotate(Count("pk")))
    decided = set(Adjudication.objects.filter(comparison__in=ids).values_list("comparison", flat=True))
    reasons: dict[int, list[str]] = {}
    flags = Flag.objects.filter(comparison__in=ids, resolved_at=None).order_by("pk")
    for number, reason in flags.values_list("comparison", "reason"):
        words = str(FlagReason(reason).label)
        if words not in reasons.setdefault(number, []):
            reasons[number].append(words)
    return [
        Item(comparisons[number], votes.get(number, 0), reasons.get(number, []), number in decided) for number in ids
    ]


def _narrow(rows: QuerySet[Any], project: Project, wanted: Wanted) -> QuerySet[Any]:
    """Those among the pairs, and whose texts hold the words."""
    if wanted.among is not None:
        rows = rows.filter(comparison__in=wanted.among)
    if not wanted.search:
        return rows
    found = hold_words(Comparison.objects.filter(project=project), wanted.search)
    return rows.filter(comparison__in=found.values("pk"))
