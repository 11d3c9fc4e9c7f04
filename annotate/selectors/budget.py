"""What is still to do in a project: votes, and hours of labelers' time."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from django.db.models import Avg, Count, F, Q, Sum

from annotate.models import Assignment, Hold, Project
from annotate.selectors.counted import select_counted

_RECENT = 500


@dataclass(frozen=True)
class Forecast:
    """Expected further votes, and the hours that they take at the median time of the last ``timed`` votes.

    ``mean_need`` is the mean number of votes that finished pairs came to need. Each pair that is not finished is
    expected to come to it too: disagreement is taken to be as frequent as before. ``hours`` is None before there is a
    vote to measure by.
    """

    votes: float
    hours: float | None
    seconds: float | None
    timed: int
    mean_need: float | None

    @property
    def whole_votes(self) -> int:
        return round(self.votes)


def forecast_budget(project: Project) -> Forecast:
    """A few sums over the project's comparisons; for the page of those who lead it."""
    held = Assignment.objects.filter(project=project, state=Assignment.State.LEASED, holds_place=True)
    unfinished = Q(taken__lt=F("need")) | Q(pk__in=held.values("comparison"))
    waiting = project.comparisons.filter(unfinished).values("need").order_by()
    waiting = waiting.annotate(pairs=Count("pk"), places=Sum("need") - Sum("taken"))
    finished = project.comparisons.filter(hold=Hold.NONE, gold=None).exclude(unfinished)
    mean_need = finished.aggregate(mean=Avg("need"))["mean"]
    votes = float(held.count())
    for row in waiting:
        raised = max(0.0, (mean_need or 0.0) - row["need"]) if project.max_votes else 0.0
        votes += row["places"] + row["pairs"] * raised
    said = select_counted().filter(project=project)
    recent = list(said.order_by("-pk").values_list("seconds", flat=True)[:_RECENT])
    seconds = median(recent) if recent else None
    hours = votes * seconds / 3600 if seconds is not None else None
    return Forecast(votes, hours, seconds, len(recent), mean_need)
