"""From candidates to the lines of the files: one place for preview, build and command line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from annotate.exporting.aggregate import Outcome, Verdict, aggregate_votes, imply_rewrite, take_recorded, take_ruling
from annotate.exporting.candidates import Candidate
from annotate.exporting.rule import Aggregation, DatasetRule
from annotate.exporting.split import choose_split, digest_opening
from annotate.exporting.weigh import Weighing
from annotate.models import Comparison, Response


@dataclass(frozen=True)
class Line:
    """A row on its way into a file: ``data`` is what the file holds."""

    split: str
    data: dict[str, Any]
    verdict: Verdict
    comparison: Comparison


def judge_candidate(candidate: Candidate, rule: DatasetRule, weighing: Weighing | None = None) -> Outcome:
    """The verdicts on a comparison; a pair without a difference has none, whatever the votes.

    An adjudication comes before every rule of aggregation.
    """
    comparison = candidate.comparison
    if candidate.ruling:
        outcome = take_ruling(candidate.ruling, candidate.votes, rule)
    elif rule.aggregation == Aggregation.RECORDED:
        outcome = take_recorded(comparison.recorded_winner if comparison else "")
    else:
        probability = weighing.probabilities.get(comparison.pk, 0.5) if weighing and comparison else 0.5
        outcome = aggregate_votes(candidate.votes, rule, probability)
    if comparison is None or not outcome.verdicts:
        return outcome
    first, second = comparison.response_a.text, comparison.response_b.text
    if first == second or not first.strip() or not second.strip():
        outcome.reason = "identical_responses" if first == second else "empty_response"
        votes = sum(len(verdict.judgment_ids) for verdict in outcome.verdicts)
        outcome.votes_left_out += Counter({outcome.reason: votes})
        outcome.verdicts = []
    return outcome


def make_lines(candidate: Candidate, outcome: Outcome, rule: DatasetRule) -> Iterator[Line]:
    """The lines of the outcome's verdicts; all of one comparison lie in one split."""
    comparison = candidate.comparison
    if comparison is None or not (outcome.verdicts or outcome.rewrites):
        return
    opening = digest_opening(comparison.prompt.messages)
    split = choose_split(opening, eval_share=rule.eval_share, seed=rule.split_seed)
    for verdict in outcome.verdicts:
        data = _make_line(comparison, verdict, *_order_sides(comparison, verdict.winner))
        yield Line(split, data | _add_asked_for(candidate, data, rule, verdict.probability), verdict, comparison)
    if rule.include_rewrites:
        yield from _make_rewrite_lines(candidate, comparison, outcome, rule, split)


def _make_rewrite_lines(
    candidate: Candidate, comparison: Comparison, outcome: Outcome, rule: DatasetRule, split: str
) -> Iterator[Line]:
    """Two pairs for each rewrite: its labeler prefers it to both responses, by no grade that anybody named."""
    behind_rows = {judgment for verdict in outcome.verdicts for judgment in verdict.judgment_ids}
    for vote in outcome.rewrites:
        rewrite = candidate.rewrites[vote.rewrite_id or 0]
        # Each vote stands behind a version once, however many rows come of it.
        fresh = () if vote.judgment_id in behind_rows else (vote.judgment_id,)
        for response in (comparison.response_a, comparison.response_b):
            if not response.text.strip() or response.text == rewrite.text:
                continue
            verdict = imply_rewrite(vote, fresh)
            data = _make_line(comparison, verdict, rewrite, response) | {"judgment_ids": [vote.judgment_id]}
            yield Line(split, data | _add_asked_for(candidate, data, rule, None, is_rewrite=True), verdict, comparison)
            fresh = ()


def _add_asked_for(
    candidate: Candidate,
    data: dict[str, Any],
    rule: DatasetRule,
    probability: float | None,
    *,
    is_rewrite: bool = False,
) -> dict[str, Any]:
    """The columns that only some rules ask for; ``probability`` that the chosen one is better, where that is known."""
    columns: dict[str, Any] = {"rewrite": is_rewrite} if rule.include_rewrites else {}
    if rule.aggregation == Aggregation.WEIGHED:
        columns["soft_label"] = probability
        columns["weight"] = None if probability is None else round(2 * probability - 1, 6)
    if rule.include_reasons:
        said = ((judgment, candidate.reasons.get(judgment)) for judgment in data["judgment_ids"])
        columns["reasons"] = [
            {"judgment_id": judgment, "rationale": reasons.rationale, "tags": reasons.tags}
            for judgment, reasons in said
            if reasons
        ]
    return columns


def _order_sides(comparison: Comparison, winner: str) -> tuple[Response, Response]:
    sides = comparison.response_a, comparison.response_b
    return sides if winner == "a" else (sides[1], sides[0])


def _make_line(comparison: Comparison, verdict: Verdict, chosen: Response, rejected: Response) -> dict[str, Any]:
    return {
        "prompt": comparison.prompt.messages,
        "chosen": [{"role": "assistant", "content": chosen.text}],
        "rejected": [{"role": "assistant", "content": rejected.text}],
        "margin": verdict.margin,
        "grade": verdict.grade,
        "votes": verdict.votes,
        "votes_for": verdict.votes_for,
        "votes_chosen_left": verdict.votes_winner_left,
        "agreement": round(verdict.votes_for / verdict.votes, 6) if verdict.votes else None,
        "comparison_id": comparison.pk,
        "prompt_id": comparison.prompt_id,
        "chosen_response_id": chosen.pk,
        "rejected_response_id": rejected.pk,
        "judgment_ids": list(verdict.judgment_ids),
        "adjudication_id": verdict.adjudication_id,
        "safety": _name_safety(verdict),
    }


def _name_safety(verdict: Verdict) -> str | None:
    """Which of the two are safe; that only the rejected one is never makes a row."""
    return "chosen" if verdict.safe and verdict.safe == verdict.winner else verdict.safe or None
