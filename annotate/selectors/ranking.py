"""Models ranked by the votes on pairs in which two of them met; the figures: quality/crowd_bt.py."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import F, QuerySet

from annotate.exporting.candidates import read_cutoff, select_votes
from annotate.models import Judgment, Project, Response
from annotate.quality.crowd_bt import MOST_ITEMS, STRENGTH_DEVIATION, rank_items
from annotate.quality.intervals import Z95, Estimate
from annotate.quality.votes import Floats

MOST_MODELS = 200
_ITEM = tuple[int, str]
"""A model's number and name; number 0 and the origin's name for responses that no registered model wrote."""


@dataclass(frozen=True)
class Standing:
    """``strength`` in natural log-odds against the mean of all models; ``count`` its votes.

    Each vote is weighed by the reliability of who gave it. ``model_id`` is None for an origin that is no model of ours.
    """

    name: str
    model_id: int | None
    strength: Estimate
    wins: int
    votes: int


def rank_models(project: Project) -> list[Standing]:
    """Strongest first. Empty where no two models met, or too many labelers voted for one table of all.

    Votes without a side, and pairs of one model with itself, say nothing about models. An import names a line of a file
    as the origin of both responses: such pairs are none of two origins.
    """
    votes = [(winner, loser, labeler) for winner, loser, labeler in _read_meetings(project) if winner != loser]
    seen = Counter(item for winner, loser, _labeler in votes for item in (winner, loser))
    items = {item: number for number, (item, _count) in enumerate(seen.most_common(MOST_MODELS))}
    kept = [vote for vote in votes if vote[0] in items and vote[1] in items]
    people = {pk: number for number, pk in enumerate(sorted({labeler for _w, _l, labeler in kept}))}
    if not kept or len(items) + len(people) > MOST_ITEMS:
        return []
    columns = np.array([(items[w], items[lost], people[k]) for w, lost, k in kept], dtype=np.int64).T
    fit = rank_items(columns[0], columns[1], columns[2], len(items), len(people))
    wins, met = np.bincount(columns[0], minlength=len(items)), np.bincount(columns[:2].ravel(), minlength=len(items))
    errors = _measure_against_mean(fit.errors)
    standings = []
    for (pk, name), number in items.items():
        value, half = float(fit.strength[number]), Z95 * float(errors[number])
        strength = Estimate(value, value - half, value + half, int(met[number]))
        standings.append(Standing(name, pk or None, strength, int(wins[number]), int(met[number])))
    return sorted(standings, key=lambda standing: -(standing.strength.value or 0.0))


def _measure_against_mean(errors: Floats) -> Floats:
    """Standard errors of strengths less their mean.

    Votes say nothing of the mean of all N strengths: the prior alone holds it, with variance STRENGTH_DEVIATION² / N
    and apart from all differences. That part is no doubt about the order, and goes.
    """
    return np.asarray(np.sqrt(np.maximum(errors**2 - STRENGTH_DEVIATION**2 / len(errors), 0.0)))


def _read_meetings(project: Project) -> list[tuple[_ITEM, _ITEM, int]]:
    """Winner, loser and labeler of each standing vote for a side on a pair whose two sources are known."""
    rows = []
    sources = _select_sources(project).iterator(chunk_size=5000)
    for winner, labeler, model_a, name_a, origin_a, model_b, name_b, origin_b in sources:
        first, second = _name_item(model_a, name_a, origin_a), _name_item(model_b, name_b, origin_b)
        if first and second:
            rows.append((first, second, labeler) if winner == "a" else (second, first, labeler))
    return rows


def _select_sources(project: Project) -> QuerySet[Judgment, Any]:
    votes = select_votes(project, read_cutoff(project).judgment).exclude(winner="").order_by("pk")
    sides = {
        f"{letter}_{name}": F(f"comparison__response_{letter}__{path}")
        for letter in "ab"
        for name, path in (("model", "model_id"), ("name", "model__name"), ("origin", "origin"))
    }
    return votes.annotate(**sides).values_list("winner", "labeler_id", *sides)


def _name_item(model_id: int | None, name: str | None, origin: str) -> _ITEM | None:
    if model_id:
        return model_id, name or ""
    return (0, origin) if origin and origin != Response.REWRITE else None
