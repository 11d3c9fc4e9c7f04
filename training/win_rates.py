"""How often one policy's responses beat another's on the same prompts, as a reward model judges them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby, product
from operator import itemgetter

from django.db.models import Exists, FilteredRelation, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from annotate.models import Project, Response
from models_registry.models import ModelVersion
from training.engine.stats import wilson_interval

MOST_POLICIES = 10
"""A wider table is read by nobody; those with the most prompts are taken."""

IMPORTED = 0
"""Stands for a model's number where the responses came with an imported file."""


@dataclass(frozen=True)
class Policy:
    """One source of responses; ``model`` is None for those of imported files. Counts are of this project."""

    model: ModelVersion | None
    prompts: int
    responses: int
    unscored: int

    @property
    def name(self) -> str:
        return self.model.name if self.model else _("Imported responses")


@dataclass(frozen=True)
class WinRate:
    """The first policy against the second, over ``prompts`` that both answered with scored responses.

    ``rate`` counts ties half; ``interval`` is Wilson's at 95 %; ``mean_gap`` is the first's score less the second's.
    ``unscored`` prompts were answered by both, but one of them has no score there. Without prompts there is no rate.
    """

    prompts: int
    unscored: int
    rate: float | None
    interval: tuple[float, float]
    mean_gap: float | None

    def turn(self) -> WinRate:
        """The second policy against the first."""
        if self.rate is None or self.mean_gap is None:
            return self
        low, high = self.interval
        return WinRate(self.prompts, self.unscored, 1 - self.rate, (1 - high, 1 - low), -self.mean_gap)


@dataclass(frozen=True)
class WinRates:
    """``cells[row][column]``: the row's policy against the column's; None on the diagonal."""

    policies: list[Policy]
    cells: list[list[WinRate | None]]
    left_out: int
    """Policies beyond MOST_POLICIES."""

    @property
    def rows(self) -> list[tuple[Policy, list[WinRate | None]]]:
        return list(zip(self.policies, self.cells, strict=True))

    @property
    def unscored(self) -> int:
        """Responses that the judge has not scored."""
        return sum(policy.unscored for policy in self.policies)


def list_sampled_projects() -> QuerySet[Project]:
    """The projects in which a model of the registry has answered a prompt, by name."""
    return Project.objects.filter(Exists(Response.objects.filter(prompt__project=OuterRef("pk"), model__isnull=False)))


def find_judged_project(judge: ModelVersion) -> Project | None:
    """The project of the judge's newest score, else the first in which models answered."""
    sampled = list_sampled_projects()
    newest = sampled.filter(prompts__responses__scores__model=judge).order_by("-prompts__responses__scores__pk")
    return newest.first() or sampled.first()


def get_win_rates(*, project: Project, judge: ModelVersion) -> WinRates:
    """Every policy of the project against every other, by the scores of ``judge``. Reads in constant memory.

    A prompt counts once: with several responses to it, all pairs of them share its one vote.
    """
    prompts, responses, unscored = Counter[int](), Counter[int](), Counter[int]()
    tallies: defaultdict[tuple[int, int], _Tally] = defaultdict(_Tally)
    for _prompt, answers in groupby(_iterate_scores(project, judge), key=itemgetter(0)):
        scores: defaultdict[int, list[float]] = defaultdict(list)
        for _same, model_id, score in answers:
            source = model_id or IMPORTED
            responses[source] += 1
            unscored[source] += score is None
            scores[source] += [] if score is None else [score]
        prompts.update(scores.keys())
        for first, second in combinations(sorted(scores), 2):
            tallies[first, second].add(scores[first], scores[second])
    models = ModelVersion.objects.in_bulk(list(responses))
    taken = sorted(source for source, _count in prompts.most_common(MOST_POLICIES))
    return WinRates(
        policies=[Policy(models.get(source), prompts[source], responses[source], unscored[source]) for source in taken],
        cells=[[_find_cell(tallies, row, column) for column in taken] for row in taken],
        left_out=len(prompts) - len(taken),
    )


class _Tally:
    """Sums over the prompts that two policies answered."""

    def __init__(self) -> None:
        self.prompts = self.unscored = 0
        self.wins = self.gap = 0.0

    def add(self, first: Sequence[float], second: Sequence[float]) -> None:
        if not first or not second:
            self.unscored += 1
            return
        self.prompts += 1
        self.wins += _average(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in product(first, second))
        self.gap += _average(first) - _average(second)

    def close(self) -> WinRate:
        if not self.prompts:
            return WinRate(0, self.unscored, None, (0.0, 1.0), None)
        interval = wilson_interval(self.wins, self.prompts)
        return WinRate(self.prompts, self.unscored, self.wins / self.prompts, interval, self.gap / self.prompts)


def _iterate_scores(project: Project, judge: ModelVersion) -> Iterable[tuple[int, int | None, float | None]]:
    """(prompt, model, score) of the responses to prompts that a model answered, prompt by prompt."""
    answered = Response.objects.filter(prompt__project=project, model__isnull=False)
    responses = Response.objects.filter(prompt__in=answered.values("prompt"))
    judged = responses.annotate(judged=FilteredRelation("scores", condition=Q(scores__model=judge)))
    return judged.order_by("prompt_id").values_list("prompt_id", "model_id", "judged__score").iterator(chunk_size=2000)


def _find_cell(tallies: dict[tuple[int, int], _Tally], row: int, column: int) -> WinRate | None:
    if row == column:
        return None
    tally = tallies.get((min(row, column), max(row, column)), _Tally())
    return tally.close() if row < column else tally.close().turn()


def _average(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
