"""From the votes on one comparison to a verdict, or to the reason why there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.utils.translation import gettext_lazy as _

from annotate.exporting.rule import STRENGTHS, Aggregation, DatasetRule
from annotate.models import Grade

LEFT_OUT_LABELS = {
    "no_votes": _("no votes yet"),
    "no_recorded_winner": _("no winner named by an imported file"),
    "set_aside": _("only votes that the rule sets aside"),
    "too_few_votes": _("fewer votes than the rule asks for"),
    "unsure": _("unsure"),
    "tie": _("tie: as many votes for one side as for the other"),
    "conflict": _("conflict: votes for both sides"),
    "grade": _("a grade that the rule leaves out"),
    "identical_responses": _("both responses are the same text"),
    "empty_response": _("a response is empty"),
    "surplus": _("surplus"),
    "labeler": _("by a labeler whose votes do not count"),
}
"""Reason: its words. Of comparisons (``left_out``) and of single votes (``votes_left_out``)."""

_BY_STRENGTH = sorted(STRENGTHS, key=lambda grade: STRENGTHS[grade])


@dataclass(frozen=True, slots=True)
class Vote:
    """An effective vote: neither undone nor superseded. ``winner`` is empty for unsure; ``left`` stood on the left."""

    judgment_id: int
    labeler_id: int
    winner: str
    grade: str
    left: str
    surplus: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row's worth. ``votes`` counts all votes heard, unsure ones too; ``votes_for`` those for the winner.

    ``votes_winner_left`` counts the votes, for whichever side, of those who saw the winner on the left.
    A winner that an imported file named has no grade, no votes and margin 0.
    """

    winner: str
    grade: str | None
    margin: float
    votes: int
    votes_for: int
    votes_winner_left: int
    judgment_ids: tuple[int, ...]
    labeler_ids: tuple[int, ...]


@dataclass
class Outcome:
    """The verdicts of a comparison (several for single votes); where there are none, the reason."""

    verdicts: list[Verdict] = field(default_factory=list)
    reason: str = ""
    votes_left_out: Counter[str] = field(default_factory=Counter)
    """Reason: votes that stand behind no row. Dissent is not among them: it lowers the row's agreement."""


def take_recorded(winner: str) -> Outcome:
    """The verdict of an imported file, if it named a winner."""
    if not winner:
        return Outcome(reason="no_recorded_winner")
    verdict = Verdict(
        winner, grade=None, margin=0.0, votes=0, votes_for=0, votes_winner_left=0, judgment_ids=(), labeler_ids=()
    )
    return Outcome([verdict])


def aggregate_votes(votes: Sequence[Vote], rule: DatasetRule) -> Outcome:
    """What the rule makes of these votes (in order of their ids)."""
    outcome = Outcome()
    heard = _set_aside(votes, rule, outcome)
    if not heard:
        outcome.reason = "set_aside" if votes else "no_votes"
    elif len(heard) < rule.min_votes:
        outcome.reason = "too_few_votes"
    elif rule.aggregation == Aggregation.SINGLE:
        return _take_single(heard, rule, outcome)
    else:
        outcome.reason = _find_reason(heard, rule)
        if not outcome.reason:
            verdict = _merge_votes(heard)
            if verdict.grade in rule.grades:
                outcome.verdicts = [verdict]
                return outcome
            outcome.reason = "grade"
    if heard:
        outcome.votes_left_out[outcome.reason] += len(heard)
    return outcome


def _set_aside(votes: Sequence[Vote], rule: DatasetRule, outcome: Outcome) -> list[Vote]:
    heard = []
    for vote in votes:
        if vote.labeler_id in rule.left_out_labelers:
            outcome.votes_left_out["labeler"] += 1
        elif vote.surplus and not rule.count_surplus:
            outcome.votes_left_out["surplus"] += 1
        else:
            heard.append(vote)
    return heard


def _find_reason(votes: Sequence[Vote], rule: DatasetRule) -> str:
    """Why these votes name no winner under this rule; empty when they do."""
    sides = Counter(vote.winner for vote in votes if vote.winner)
    unsure = len(votes) - sides.total()
    if not sides:
        return "unsure"
    if rule.aggregation == Aggregation.UNANIMOUS:
        if len(sides) > 1:
            return "conflict"
        return "unsure" if unsure else ""
    return "tie" if sides["a"] == sides["b"] else ""


def _merge_votes(votes: Sequence[Vote]) -> Verdict:
    """Grade: the lower median of the winning votes' grades. Margin: the mean of their strengths."""
    sides = Counter(vote.winner for vote in votes if vote.winner)
    winner = max(sides, key=lambda side: sides[side])
    grades = sorted((vote.grade for vote in votes if vote.winner == winner), key=_BY_STRENGTH.index)
    return Verdict(
        winner=winner,
        grade=grades[(len(grades) - 1) // 2],
        margin=round(sum(STRENGTHS[grade] for grade in grades) / len(grades), 6),
        votes=len(votes),
        votes_for=len(grades),
        votes_winner_left=sum(vote.left == winner for vote in votes),
        judgment_ids=tuple(vote.judgment_id for vote in votes),
        labeler_ids=tuple(vote.labeler_id for vote in votes),
    )


def _take_single(votes: Sequence[Vote], rule: DatasetRule, outcome: Outcome) -> Outcome:
    for vote in votes:
        if vote.grade == Grade.UNSURE:
            outcome.votes_left_out["unsure"] += 1
        elif vote.grade not in rule.grades:
            outcome.votes_left_out["grade"] += 1
        else:
            outcome.verdicts.append(_merge_votes([vote]))
    if not outcome.verdicts:
        outcome.reason = "grade" if outcome.votes_left_out["grade"] else "unsure"
    return outcome
