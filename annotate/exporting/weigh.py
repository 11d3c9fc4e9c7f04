"""Weighing votes by the reliability of their labelers, for a dataset version; the model: quality/reliability.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from annotate.exporting.candidates import Cutoff, select_votes
from annotate.exporting.rule import DatasetRule
from annotate.models import Project
from annotate.quality.reliability import PRIOR_DEVIATION, SIDE_DEVIATION, count_decided, fit_reliability
from annotate.quality.votes import VoteTable, read_level, read_side

_DIGITS = 6
"""Of what is written: the last bits of a sum may differ from one processor to another."""


@dataclass(frozen=True)
class LabelerWeight:
    """``weight`` θ and ``side_bias`` β in log-odds; ``votes`` for a side that were weighed."""

    labeler_id: int
    votes: int
    reliability: float
    weight: float
    side_bias: float


@dataclass(frozen=True)
class Weighing:
    """``probabilities`` that response a is better, by comparison; and what each labeler's votes were worth."""

    probabilities: dict[int, float]
    labelers: list[LabelerWeight]


def weigh_votes(project: Project, cutoff: Cutoff, rule: DatasetRule) -> Weighing:
    """Fits the model to the votes that the rule counts, up to the cutoff; the same votes give the same weights."""
    votes = select_votes(project, cutoff.judgment).exclude(labeler__in=rule.left_out_labelers)
    if not rule.count_surplus:
        votes = votes.filter(surplus=False)
    columns = ("comparison_id", "labeler_id", "winner", "grade", "left_response", "seed")
    rows = [
        (comparison, labeler, read_level(winner, grade), read_side(left, seed))
        for comparison, labeler, winner, grade, left, seed in votes.order_by("pk").values_list(*columns)
    ]
    table = (
        VoteTable.build(*(list(column) for column in zip(*rows, strict=True))) if rows else VoteTable.build([], [], [])
    )
    fit, decided = fit_reliability(table), count_decided(table)
    return Weighing(
        probabilities={
            int(pk): round(float(share), _DIGITS) for pk, share in zip(table.pair_ids, fit.posterior, strict=True)
        },
        labelers=[
            LabelerWeight(
                labeler_id=int(pk),
                votes=int(decided[number]),
                reliability=round(fit.describe_reliability(number, 0).value or 0.0, _DIGITS),
                weight=round(float(fit.weight[number]), _DIGITS),
                side_bias=round(float(fit.side_bias[number]), _DIGITS),
            )
            for number, pk in enumerate(table.labeler_ids)
        ],
    )


def describe_weighing(weighing: Weighing) -> Iterable[str]:
    """For the version's card: the model, and its numbers by the account's number, never by a name."""
    yield "Votes were weighed by the reliability of their labelers. A pair has a hidden truth y, 1 where response a is"
    yield "better and -1 where b is; labeler k, who saw a on the left (s = 1) or on the right (s = -1), votes for a"
    yield "with probability σ(θ y + β s). The most probable θ and β are used; votes without a side are not. Priors:"
    yield f"θ ~ N(logit 0.8, {PRIOR_DEVIATION:g}²), β ~ N(0, {SIDE_DEVIATION:g}²)."
    yield ""
    yield "| labeler | votes | reliability σ(θ) | weight θ | side bias β |"
    yield "|---|---|---|---|---|"
    for each in weighing.labelers:
        yield (
            f"| {each.labeler_id} | {each.votes} | {each.reliability:.4f} | {each.weight:.4f} | {each.side_bias:.4f} |"
        )
