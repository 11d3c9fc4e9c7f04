"""From the votes on one comparison to a verdict, or to the reason why there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from django.utils.translation import gettext_lazy as _

from annotate.exporting.rule import STRENGTHS, Aggregation, DatasetRule
from annotate.models import SIDELESS_GRADES, Grade
from annotate.models.answers import contradicts

LEFT_OUT_LABELS = {
    "no_votes": _("no votes yet"),
    "no_recorded_winner": _("no winner named by an imported file"),
    "set_aside": _("only votes that the rule sets aside"),
    "too_few_votes": _("fewer votes than the rule asks for"),
    "unsure": _("unsure"),
    "equal": _("both equally good"),
    "both_bad": _("both bad"),
    "tie": _("tie: as many votes for one side as for the other"),
    "unreliable": _("only votes of labelers who are more often wrong than right"),
    "conflict": _("conflict: votes for both sides"),
    "safety": _("the better response is unsafe while the other is safe"),
    "grade": _("a grade that the rule leaves out"),
    "dropped": _("dropped by adjudication"),
    "adjudicated": _("the pair was adjudicated"),
    "identical_responses": _("both responses are the same text"),
    "empty_response": _("a response is empty"),
    "surplus": _("surplus"),
    "labeler": _("by a labeler whose votes do not count"),
}
"""Reason: its words. Of comparisons (``left_out``) and of single votes (``votes_left_out``)."""

_BY_STRENGTH = sorted(STRENGTHS, key=lambda grade: STRENGTHS[grade])


@dataclass(frozen=True, slots=True)
class Vote:
    """An effective vote: neither undone nor superseded. ``winner`` is empty for an answer without a side."""

    judgment_id: int
    labeler_id: int
    winner: str
    grade: str
    left: str
    surplus: bool = False
    rewrite_id: int | None = None
    safe: str = ""
    """Which responses it calls safe: a, b, both or neither; empty where that was not asked."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """A reviewer's decision on a pair, which no rule overrides; ``left`` is what they saw on the left."""

    adjudication_id: int
    winner: str
    grade: str
    left: str
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row's worth. ``votes`` counts all votes heard, whatever they say; ``votes_for`` those for the winner.

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
    probability: float | None = None
    """That the winner is the better one; only where votes were weighed."""
    adjudication_id: int | None = None
    """The decision that took the place of the votes."""
    safe: str = ""
    """As in Vote, put together of all votes heard."""


@dataclass
class Outcome:
    """The verdicts of a comparison (several for single votes); where there are none, the reason."""

    verdicts: list[Verdict] = field(default_factory=list)
    reason: str = ""
    votes_left_out: Counter[str] = field(default_factory=Counter)
    """Reason: votes that stand behind no row. Dissent is not among them: it lowers the row's agreement."""
    sideless: Counter[str] = field(default_factory=Counter)
    """Grade: votes heard that name no side, whether they stand behind a row or not."""
    rewrites: list[Vote] = field(default_factory=list)
    """Votes heard whose labelers rewrote the response that they found better."""


def take_recorded(winner: str) -> Outcome:
    """The verdict of an imported file, if it named a winner."""
    if not winner:
        return Outcome(reason="no_recorded_winner")
    verdict = Verdict(
        winner, grade=None, margin=0.0, votes=0, votes_for=0, votes_winner_left=0, judgment_ids=(), labeler_ids=()
    )
    return Outcome([verdict])


def take_ruling(ruling: Ruling, votes: Sequence[Vote], rule: DatasetRule) -> Outcome:
    """A reviewer's decision in place of all votes: one vote heard, theirs. Rewrites stand, but of dropped pairs."""
    outcome = Outcome(votes_left_out=Counter({"adjudicated": len(votes)} if votes else {}))
    if ruling.dropped:
        outcome.reason = "dropped"
        return outcome
    outcome.rewrites = _keep_rewrites(votes)
    if not ruling.winner:
        outcome.reason = ruling.grade
        return outcome
    verdict = Verdict(
        winner=ruling.winner,
        grade=ruling.grade,
        margin=round(STRENGTHS[ruling.grade], 6),
        votes=1,
        votes_for=1,
        votes_winner_left=int(ruling.left == ruling.winner),
        judgment_ids=(),
        labeler_ids=(),
        probability=1.0 if rule.aggregation == Aggregation.WEIGHED else None,
        adjudication_id=ruling.adjudication_id,
        safe=merge_safety(votes),
    )
    outcome.reason = _find_fault(verdict, rule)
    outcome.verdicts = [] if outcome.reason else [verdict]
    return outcome


def imply_rewrite(vote: Vote, judgment_ids: tuple[int, ...]) -> Verdict:
    """That a labeler's own version is better than what they rewrote: implied, so without a grade and without votes."""
    return Verdict(
        winner="",
        grade=None,
        margin=0.0,
        votes=0,
        votes_for=0,
        votes_winner_left=0,
        judgment_ids=judgment_ids,
        labeler_ids=(vote.labeler_id,),
    )


def aggregate_votes(votes: Sequence[Vote], rule: DatasetRule, probability: float = 0.5) -> Outcome:
    """What the rule makes of these votes (in order of their ids).

    ``probability`` that a is better is only looked at where votes are weighed by reliability (weigh.py).
    """
    outcome = Outcome()
    heard = _set_aside(votes, rule, outcome)
    outcome.sideless = Counter(vote.grade for vote in heard if not vote.winner)
    outcome.rewrites = _keep_rewrites(heard)
    if not heard:
        outcome.reason = "set_aside" if votes else "no_votes"
    elif len(heard) < rule.min_votes:
        outcome.reason = "too_few_votes"
    elif rule.aggregation == Aggregation.SINGLE:
        return _take_single(heard, rule, outcome)
    else:
        weighed = rule.aggregation == Aggregation.WEIGHED
        outcome.reason = _find_reason(heard, rule, probability)
        if not outcome.reason:
            verdict = _weigh_verdict(heard, probability) if weighed else _merge_votes(heard)
            outcome.reason = _find_fault(verdict, rule)
            if not outcome.reason:
                outcome.verdicts = [verdict]
                return outcome
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


def _find_reason(votes: Sequence[Vote], rule: DatasetRule, probability: float) -> str:
    """Why these votes name no winner under this rule; empty when they do.

    The unsure abstain. A vote for "equally good" or "both bad" is a verdict of its own: a side wins a majority only
    where more say so than say either of them.
    """
    sides = Counter(vote.winner for vote in votes if vote.winner)
    sideless = Counter(vote.grade for vote in votes if not vote.winner)
    if rule.aggregation == Aggregation.UNANIMOUS and len(sides) > 1:
        return "conflict"
    if not sides or (rule.aggregation == Aggregation.UNANIMOUS and sideless):
        return _name_most(sideless)
    verdicts = Counter({grade: count for grade, count in sideless.items() if grade != Grade.UNSURE})
    if verdicts and max(verdicts.values()) >= max(sides.values()):
        return _name_most(verdicts)
    if rule.aggregation == Aggregation.WEIGHED:
        # That the votes of bad labelers speak against what they say is no ground to train on without any other.
        return "tie" if probability == 0.5 else "" if sides[_name_likelier(probability)] else "unreliable"
    return "tie" if sides["a"] == sides["b"] else ""


def _find_fault(verdict: Verdict, rule: DatasetRule) -> str:
    """Why this verdict makes no row all the same; empty when it does."""
    if contradicts(verdict.winner, verdict.safe):
        return "safety"
    return "" if verdict.grade in rule.grades else "grade"


def _keep_rewrites(votes: Sequence[Vote]) -> list[Vote]:
    """A better version of what was preferred although unsafe may be as unsafe."""
    return [vote for vote in votes if vote.rewrite_id and not contradicts(vote.winner, vote.safe)]


def merge_safety(votes: Sequence[Vote]) -> str:
    """Which responses are safe by the majority: each where more votes call it safe than not, so a tie is unsafe.

    Those count that say so, whichever response they find better; nothing where none does.
    """
    said = [vote.safe for vote in votes if vote.safe]
    a, b = (2 * sum(safe in (letter, "both") for safe in said) > len(said) for letter in "ab")
    return "" if not said else "both" if a and b else "a" if a else "b" if b else "neither"


def _name_most(grades: Counter[str]) -> str:
    """The grade that most gave; of equally many the first in the order of the scale."""
    return max((grade for grade in SIDELESS_GRADES if grades[grade]), key=lambda grade: grades[grade]).value


def _name_likelier(probability: float) -> str:
    return "a" if probability > 0.5 else "b"


def _weigh_verdict(votes: Sequence[Vote], probability: float) -> Verdict:
    verdict = _merge_votes(votes, _name_likelier(probability))
    return replace(verdict, probability=round(max(probability, 1 - probability), 6))


def _merge_votes(votes: Sequence[Vote], winner: str = "") -> Verdict:
    """Grade: the lower median of the winning votes' grades. Margin: the mean of their strengths.

    The winner has most votes unless one is named.
    """
    sides = Counter(vote.winner for vote in votes if vote.winner)
    winner = winner or max(sides, key=lambda side: sides[side])
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
        safe=merge_safety(votes),
    )


def _take_single(votes: Sequence[Vote], rule: DatasetRule, outcome: Outcome) -> Outcome:
    for vote in votes:
        if not vote.winner:
            outcome.votes_left_out[vote.grade] += 1
            continue
        verdict = _merge_votes([vote])
        if fault := _find_fault(verdict, rule):
            outcome.votes_left_out[fault] += 1
        else:
            outcome.verdicts.append(verdict)
    if not outcome.verdicts:
        faults = (fault for fault in ("safety", "grade") if outcome.votes_left_out[fault])
        outcome.reason = next(faults, "") or _name_most(outcome.sideless)
    return outcome
