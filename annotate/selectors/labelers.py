"""One labeler in one project: their own figures, with nothing of anybody else but the project's middle."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from statistics import fmean, median
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.utils import timezone

from annotate.models import Adjudication, Flag, Grade, Judgment, Project, SkipReason
from annotate.quality.intervals import Estimate, estimate_share
from annotate.quality.repeats import measure_repeats
from annotate.selectors.answers import list_answers
from annotate.selectors.counted import select_counted
from annotate.selectors.gold import read_credits
from annotate.selectors.quality import LabelerQuality, QualityReport, get_quality, read_repeats
from annotate.selectors.totals import keep

LEAST_VOTES = 20
"""Below this, figures would say more about chance than about a person, and are not shown."""
LEAST_LABELERS = 3
"""Below this, the project's middle would give away somebody's figure, and is not shown."""
OWN_KEPT_S = 24 * 3600
"""So long a labeler sees the same figures of agreement: moving with each vote that counts, they would tell gold."""
OWN_REPEATS = 10
"""In steps of so many repeats a labeler's consistency is told to themself: more often, it would tell a repeat."""
MOST_WEEKS, MOST_DAYS, MOST_RECENT = 12, 28, 20
_MIDDLE_OF = 5000
_NOTHING = Estimate(None, None, None, 0)


@dataclass(frozen=True)
class Week:
    """``start`` is a Monday; ``seconds`` the median at work on a pair, where it was measured."""

    start: date
    votes: int
    seconds: float | None


@dataclass(frozen=True)
class Middle:
    """What is usual in the project: all votes together, nobody's name."""

    seconds: float | None
    agreement: float | None


@dataclass(frozen=True)
class LabelerFigures:
    """``has_figures`` is False before LEAST_VOTES votes: then all but counts and ``recent`` is empty."""

    person: User
    votes: int
    has_figures: bool
    seconds: float | None = None
    weeks: list[Week] = field(default_factory=list)
    days: list[tuple[date, int]] = field(default_factory=list)
    agreement: Estimate = _NOTHING
    reliability: Estimate = _NOTHING
    weight: float | None = None
    position: Estimate = _NOTHING
    adjudicated: Estimate = _NOTHING
    """How often the decision on a pair said the same as their vote, but for pairs that they decided themselves."""
    consistency: Estimate = _NOTHING
    """How often they said the same of a pair that came again; ``count`` such pairs."""
    grades: list[tuple[str, int]] = field(default_factory=list)
    skips: list[tuple[str, int]] = field(default_factory=list)
    flags: int = 0
    middle: Middle | None = None


def describe_labeler(project: Project, person: User, *, for_themself: bool = False) -> LabelerFigures:
    """Agreement, reliability and position may be some while old in a large project; the rest is counted now.

    ``for_themself`` leaves out what would tell them which pairs came again or were gold.
    """
    said = Judgment.objects.filter(project=project, labeler=person, superseded_by=None)
    rows = list(said.filter(action=Judgment.Action.VOTE).order_by("pk").values_list("created_at", "seconds", "grade"))
    counts: dict[str, Any] = {
        "skips": _count_skips(said.filter(action=Judgment.Action.SKIP)),
        "flags": Flag.objects.filter(comparison__project=project, labeler=person).count(),
    }
    if len(rows) < LEAST_VOTES:
        return LabelerFigures(person, len(rows), has_figures=False, **counts)
    report = get_quality(project)
    own = next((each for each in report.labelers if each.id == person.pk), None)
    if for_themself:
        now = own
        own = keep(f"own-figures:{project.pk}:{person.pk}", lambda: now, lambda _own: OWN_KEPT_S)
    return LabelerFigures(
        person,
        len(rows),
        has_figures=True,
        seconds=_find_median([seconds for _when, seconds, _grade in rows]),
        weeks=_group_weeks(rows),
        days=_group_days(rows),
        adjudicated=measure_adjudicated(project, person),
        consistency=measure_own_repeats(project, person, steps_of=OWN_REPEATS if for_themself else 1),
        grades=_count_grades([grade for _when, _seconds, grade in rows]),
        middle=_find_middle(project, report),
        **counts,
        **(_take_quality(own) if own else {}),
    )


def list_recent(project: Project, person: User) -> QuerySet[Judgment]:
    """Their last votes and skips that stand, newest first, each pair once, as they met it last."""
    return list_answers(project, person).select_related(None).select_related("comparison__prompt")[:MOST_RECENT]


def count_uncounted(project: Project, person: User) -> int:
    """Their votes that stand and count nowhere: on gold, and on pairs that came again. For those who lead."""
    said = Judgment.objects.filter(project=project, labeler=person, superseded_by=None, action=Judgment.Action.VOTE)
    return said.count() - select_counted().filter(project=project, labeler=person).count()


def measure_adjudicated(project: Project, person: User) -> Estimate:
    """Share of their votes on decided pairs that the decision agrees with: the same side, or neither of them any."""
    standing = Adjudication.objects.filter(project=project, superseded_by=None, dropped=False).exclude(reviewer=person)
    decided = dict(standing.values_list("comparison_id", "winner"))
    votes = select_counted().filter(project=project, labeler=person, comparison__in=standing.values("comparison"))
    pairs = list(votes.values_list("comparison_id", "winner"))
    return estimate_share(sum(decided[pk] == winner for pk, winner in pairs), len(pairs))


def measure_own_repeats(project: Project, person: User, *, steps_of: int = 1) -> Estimate:
    """Share of pairs that came again, sides swapped, of which they said the same: the same response, or neither."""
    return measure_repeats(read_repeats(project, person, steps_of=steps_of)).same


def measure_gold(project: Project, person: User) -> Estimate:
    """Mean credit of their votes on gold, without an interval. For those who lead: no labeler learns of gold."""
    credits = read_credits(project, person)
    return Estimate(fmean(credits) if credits else None, None, None, len(credits))


def _take_quality(own: LabelerQuality) -> dict[str, Any]:
    return {
        "agreement": own.agreement,
        "reliability": own.reliability,
        "weight": own.weight,
        "position": own.position,
    }


def _find_middle(project: Project, report: QualityReport) -> Middle | None:
    if sum(each.votes >= LEAST_VOTES for each in report.labelers) < LEAST_LABELERS:
        return None
    votes = Judgment.objects.filter(project=project, action=Judgment.Action.VOTE, superseded_by=None)
    recent = votes.order_by("-pk").values_list("seconds", flat=True)[:_MIDDLE_OF]
    return Middle(_find_median(list(recent)), report.agreement.value)


def _find_median(seconds: list[float]) -> float | None:
    """Of what was measured: votes that were brought in have no time."""
    measured = [value for value in seconds if value > 0]
    return median(measured) if measured else None


def _group_weeks(rows: list[tuple[datetime, float, str]]) -> list[Week]:
    found: dict[date, list[float]] = {}
    for when, seconds, _grade in rows:
        day = timezone.localtime(when).date()
        found.setdefault(day - timedelta(days=day.weekday()), []).append(seconds)
    return [Week(start, len(values), _find_median(values)) for start, values in list(found.items())[-MOST_WEEKS:]]


def _group_days(rows: list[tuple[datetime, float, str]]) -> list[tuple[date, int]]:
    days = Counter(timezone.localtime(when).date() for when, _seconds, _grade in rows)
    return sorted(days.items())[-MOST_DAYS:]


def _count_grades(grades: list[str]) -> list[tuple[str, int]]:
    counts = Counter(grades)
    return [(str(grade.label), counts[grade]) for grade in Grade if counts[grade]]


def _count_skips(skips: QuerySet[Judgment]) -> list[tuple[str, int]]:
    codes = Counter(reason.partition(":")[0] for reason in skips.values_list("skip_reason", flat=True))
    return [(str(reason.label), codes[reason]) for reason in SkipReason if codes[reason]]
