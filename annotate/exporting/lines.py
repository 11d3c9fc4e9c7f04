"""From candidates to the lines of the files: one place for preview, build and command line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from annotate.exporting.aggregate import Outcome, Verdict, aggregate_votes, take_recorded
from annotate.exporting.candidates import Candidate
from annotate.exporting.rule import Aggregation, DatasetRule
from annotate.exporting.split import choose_split, digest_opening
from annotate.models import Comparison


@dataclass(frozen=True)
class Line:
    """A row on its way into a file: ``data`` is what the file holds."""

    split: str
    data: dict[str, Any]
    verdict: Verdict
    comparison: Comparison


def judge_candidate(candidate: Candidate, rule: DatasetRule) -> Outcome:
    """The verdicts on a comparison; a pair without a difference has none, whatever the votes."""
    comparison = candidate.comparison
    if rule.aggregation == Aggregation.RECORDED:
        outcome = take_recorded(comparison.recorded_winner if comparison else "")
    else:
        outcome = aggregate_votes(candidate.votes, rule)
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
    if comparison is None or not outcome.verdicts:
        return
    opening = digest_opening(comparison.prompt.messages)
    split = choose_split(opening, eval_share=rule.eval_share, seed=rule.split_seed)
    for verdict in outcome.verdicts:
        yield Line(split, _make_line(comparison, verdict), verdict, comparison)


def _make_line(comparison: Comparison, verdict: Verdict) -> dict[str, Any]:
    sides = comparison.response_a, comparison.response_b
    chosen, rejected = sides if verdict.winner == "a" else sides[::-1]
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
    }
