"""The quality of a project's labels: everything of annotate/quality for its votes, computed at most once a state.

Of many votes it takes long, and is then kept for a while whatever comes in, as sums are (totals.py).

For those who lead it: labelers do not see each other's figures.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db.models import Max, QuerySet
from django.utils import timezone

from annotate.exporting.candidates import read_cutoff, select_votes
from annotate.models import Comparison, GoldAnswer, Grade, Judgment, Project, ResponseScore
from annotate.quality.agreement import (
    measure_agreement,
    measure_agreement_by,
    measure_alpha,
    measure_cohen,
    measure_fleiss,
)
from annotate.quality.bias import (
    estimate_side_effect,
    flag_position_bias,
    measure_position_bias,
    measure_position_bias_by_labeler,
)
from annotate.quality.intervals import Estimate
from annotate.quality.reliability import count_decided, fit_reliability
from annotate.quality.repeats import Repeats, measure_repeats, measure_repeats_by_labeler
from annotate.quality.style import StyleEffects, contrast_styles, count_style, estimate_style_effects
from annotate.quality.votes import Integers, VoteTable, read_level, read_side
from annotate.selectors import totals
from annotate.selectors.counted import select_counted
from annotate.selectors.ranking import Standing, rank_models
from models_registry.models import ModelVersion

MOST_STYLED = 2_000
"""Comparisons, evenly spread, whose texts the style audit reads."""
MOST_PAIRS_OF_LABELERS = 30
MOST_WEEKS = 26
_VERSION = 4
_CACHE_SECONDS = 24 * 3600
_KEPT_FOR = 100
"""Times as long as measuring took a report of many votes is shown, so that measuring takes a hundredth of the time."""


@dataclass(frozen=True)
class LabelerQuality:
    """``agreement`` with others on the same comparison; ``reliability`` and ``weight`` as in quality/reliability.py."""

    id: int
    name: str
    votes: int
    agreement: Estimate
    reliability: Estimate
    weight: float
    position: Estimate
    is_flagged: bool
    repeats: Repeats


@dataclass(frozen=True)
class QualityReport:
    """All figures of a project. Pairs of labelers, weeks and scorers are named; missing figures are None within."""

    votes: int
    comparisons: int
    repeated: int
    """Comparisons with two votes or more: agreement rests on them."""
    agreement: Estimate
    alpha_decisions: Estimate
    alpha_grades: Estimate
    fleiss: Estimate
    by_grade: dict[str, Estimate]
    by_week: dict[str, Estimate]
    labelers: list[LabelerQuality]
    cohen: list[tuple[str, str, Estimate]]
    position: Estimate
    side_effect: Estimate
    style: StyleEffects
    style_of_models: dict[str, StyleEffects]
    models: list[Standing]
    repeats: Repeats
    converged: bool
    measured_at: datetime = field(compare=False)
    took_s: float = field(compare=False)
    """Seconds that measuring took."""

    @property
    def kept_s(self) -> float:
        """Seconds for which this is shown although votes may have come in; 0 of few votes, which are measured anew."""
        return self.took_s * _KEPT_FOR if self.votes > totals.EXACT_UP_TO else 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain data: an estimate is {value, low, high, count}."""
        return asdict(self) | {"measured_at": self.measured_at.isoformat()}


def get_quality(project: Project) -> QualityReport:
    """The report of the votes as they stand; of many votes one that may be older, as ``measured_at`` says.

    When its time is over one asker measures anew, unless nothing came in, and the others get the old one until then.
    """

    def measure() -> QualityReport:
        state = _read_state(project)
        found: tuple[tuple[int, ...], QualityReport] | None = cache.get(_name_key(project))
        if found and found[0] == state:
            return found[1]
        report = measure_quality(project)
        cache.set(_name_key(project), (state, report), _CACHE_SECONDS)
        return report

    return totals.keep(f"{_name_key(project)}:kept", measure, lambda report: report.kept_s)


def find_measured(project: Project) -> QualityReport | None:
    """The last report, if it is still there; measures nothing."""
    found: tuple[tuple[int, ...], QualityReport] | None = cache.get(_name_key(project))
    return found[1] if found else None


def _name_key(project: Project) -> str:
    return f"label-quality:{_VERSION}:{project.pk}"


def _read_state(project: Project) -> tuple[int, ...]:
    """Another one after a vote, a score or a gold pair is added."""
    scores = ResponseScore.objects.filter(response__prompt__project=project.root_id).aggregate(last=Max("pk"))["last"]
    gold = GoldAnswer.objects.filter(comparison__project=project).count()
    return read_cutoff(project).judgment, scores or 0, gold


def measure_quality(project: Project) -> QualityReport:
    """Reads all standing votes; a second or two for 100,000 of them."""
    measured_at, start = timezone.now(), time.monotonic()
    table, grade, week = read_votes(project)
    fit, decided = fit_reliability(table), count_decided(table)
    names = dict(User.objects.filter(pk__in=table.labeler_ids.tolist()).values_list("pk", "username"))
    called = [names.get(int(pk), str(pk)) for pk in table.labeler_ids]
    agreements = measure_agreement_by(table, table.labeler, table.labelers)
    positions = measure_position_bias_by_labeler(table)
    flags = flag_position_bias(positions)
    votes = np.bincount(table.labeler, minlength=table.labelers)
    counts, grades = table.count_decisions(), list(Grade.values)
    weeks, week_of = np.unique(week, return_inverse=True)
    style, models = audit_style(project, table)
    again = read_repeats(project)
    by_labeler = dict(zip(again.labeler_ids.tolist(), measure_repeats_by_labeler(again), strict=True))
    none_again = measure_repeats(VoteTable.build([], [], []))
    labelers = [
        LabelerQuality(
            id=int(table.labeler_ids[number]),
            name=called[number],
            votes=int(votes[number]),
            agreement=agreements[number],
            reliability=fit.describe_reliability(number, int(decided[number])),
            weight=float(fit.weight[number]),
            position=positions[number],
            is_flagged=flags[number],
            repeats=by_labeler.get(int(table.labeler_ids[number]), none_again),
        )
        for number in range(table.labelers)
    ]
    return QualityReport(
        votes=table.votes,
        comparisons=table.pairs,
        repeated=int((counts.sum(axis=1) >= 2).sum()),
        agreement=measure_agreement(table),
        alpha_decisions=measure_alpha(counts),
        alpha_grades=measure_alpha(table.count_levels(), ordinal=True),
        fleiss=measure_fleiss(counts),
        by_grade=_drop_empty(grades, measure_agreement_by(table, grade, len(grades))),
        by_week=_drop_empty(
            [_name_week(int(number)) for number in weeks], measure_agreement_by(table, week_of, len(weeks))
        ),
        labelers=sorted(labelers, key=lambda labeler: -labeler.votes),
        cohen=[
            (called[both.first], called[both.second], both.kappa)
            for both in measure_cohen(table)[:MOST_PAIRS_OF_LABELERS]
        ],
        position=measure_position_bias(table),
        side_effect=estimate_side_effect(table.pair, table.decision, table.side),
        style=style,
        style_of_models=models,
        models=rank_models(project),
        repeats=measure_repeats(again),
        converged=fit.converged,
        measured_at=measured_at,
        took_s=time.monotonic() - start,
    )


def read_votes(project: Project) -> tuple[VoteTable, Integers, Integers]:
    """The standing votes; with each its grade, by its place in ``Grade``, and its week since year 1; (V,) each."""
    votes = select_votes(project, read_cutoff(project).judgment).order_by("pk")
    rows = votes.values_list("comparison_id", "labeler_id", "winner", "grade", "left_response", "seed", "created_at")
    places = {grade: number for number, grade in enumerate(Grade.values)}
    columns = [
        (
            comparison,
            labeler,
            read_level(winner, grade),
            read_side(left, seed),
            places[grade],
            _number_week(when),
        )
        for comparison, labeler, winner, grade, left, seed, when in rows.iterator(chunk_size=5000)
    ]
    values = np.array(columns, dtype=np.int64).reshape(-1, 6).T
    return VoteTable.build(values[0], values[1], values[2], values[3]), values[4], values[5]


def read_repeats(project: Project, labeler: User | None = None, *, steps_of: int = 1) -> VoteTable:
    """The votes on pairs that came again to their labeler, to one or to all, the first ones first.

    Of ``steps_of`` repeats and more only so many times that number, the earliest.
    """
    again = Judgment.objects.filter(project=project, action=Judgment.Action.VOTE, superseded_by=None, is_repeat=True)
    if labeler:
        again = again.filter(labeler=labeler)
        told = again.order_by("pk").values_list("pk", flat=True)
        again = again.filter(pk__in=list(told[: again.count() // steps_of * steps_of]))
    # Asked for each vote whether its labeler repeated it, SQLite reads all votes of the labeler for each.
    first = select_counted(with_gold=True).filter(project=project, comparison__in=again.values("comparison"))
    columns = ("comparison_id", "labeler_id", "winner", "grade", "left_response", "seed")
    repeats = list(again.order_by("pk").values_list(*columns))
    repeated = {row[:2] for row in repeats}
    rows = [
        (comparison, labeler, read_level(winner, grade), read_side(left, seed))
        for votes in (first.order_by("pk").values_list(*columns), repeats)
        for comparison, labeler, winner, grade, left, seed in votes
        if (comparison, labeler) in repeated
    ]
    values = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return VoteTable.build(values[0], values[1], values[2], values[3])


def audit_style(project: Project, table: VoteTable) -> tuple[StyleEffects, dict[str, StyleEffects]]:
    """Of labelers' votes and, by the name of the model, of every reward model that scored the same comparisons."""
    every = max(1, -(-table.pairs // MOST_STYLED))
    chosen = [int(pk) for pk in table.pair_ids[::every]]
    pairs = list(_read_pairs(chosen))
    row_of = np.full(table.pairs, -1, dtype=np.int64)
    numbers = {int(pk): number for number, pk in enumerate(table.pair_ids)}
    for row, pair in enumerate(pairs):
        row_of[numbers[pair[0]]] = row
    texts = [(count_style(pair[4]), count_style(pair[5])) for pair in pairs]
    counted = np.array(texts, dtype=np.float64).reshape(-1, 2, 4)
    contrast = contrast_styles(counted[:, 0], counted[:, 1])
    prompts = np.array([pair[1] for pair in pairs], dtype=np.int64)
    used = (row_of[table.pair] >= 0) & (table.decision != 0)
    row = row_of[table.pair[used]]
    labelers = estimate_style_effects(contrast[row], table.decision[used], table.side[used], prompts[row])
    ids = [pair[2] for pair in pairs], [pair[3] for pair in pairs]
    return labelers, {
        name: estimate_style_effects(*_choose_by_score(scores, ids, contrast, prompts))
        for name, scores in _read_scores(ids).items()
    }


def _read_pairs(ids: list[int]) -> QuerySet[Comparison, tuple[Any, ...]]:
    columns = ("pk", "prompt_id", "response_a_id", "response_b_id", "response_a__text", "response_b__text")
    return Comparison.objects.filter(pk__in=ids).order_by("pk").values_list(*columns)


def _read_scores(ids: tuple[list[int], list[int]]) -> dict[str, dict[int, float]]:
    """Model's name: score of each response."""
    found: dict[str, dict[int, float]] = {}
    rows = ResponseScore.objects.filter(response_id__in=[*ids[0], *ids[1]]).order_by("model_id")
    names = dict(ModelVersion.objects.filter(scores__in=rows).values_list("pk", "name").distinct())
    for model, response, score in rows.values_list("model_id", "response_id", "score"):
        found.setdefault(names[model], {})[response] = score
    return found


def _choose_by_score(
    scores: dict[int, float], ids: tuple[list[int], list[int]], contrast: Any, prompts: Integers
) -> tuple[Any, Integers, Integers, Integers]:
    """What ``estimate_style_effects`` takes: the response with the higher score is the one chosen."""
    leads = np.array([scores.get(a, np.nan) - scores.get(b, np.nan) for a, b in zip(*ids, strict=True)])
    rows = np.flatnonzero(~np.isnan(leads) & (leads != 0))
    choice = np.sign(leads[rows]).astype(np.int64)
    return contrast[rows], choice, np.zeros_like(choice), prompts[rows]


def _number_week(when: datetime) -> int:
    """Weeks begin on Monday."""
    return (when.toordinal() - 1) // 7


def _name_week(number: int) -> str:
    """The Monday, as an ISO date."""
    return (datetime(1, 1, 1) + timedelta(days=7 * number)).date().isoformat()


def _drop_empty(names: list[str], estimates: list[Estimate]) -> dict[str, Estimate]:
    """The last of those that rest on something."""
    found = [(name, estimate) for name, estimate in zip(names, estimates, strict=True) if estimate.count]
    return dict(found[-MOST_WEEKS:])
