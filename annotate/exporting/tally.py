"""Counting what goes into a dataset version and what stays out."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from annotate.exporting.aggregate import Outcome
from annotate.exporting.lines import Line
from annotate.exporting.split import EVAL, TRAIN
from annotate.models import Comparison


@dataclass
class Tally:
    """Grows by a few bytes a row (numbers of votes, prompts, labelers), never by texts."""

    comparisons: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    grades: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    votes_left_out: Counter[str] = field(default_factory=Counter)
    sideless: Counter[str] = field(default_factory=Counter)
    prompts: dict[str, set[int]] = field(default_factory=lambda: {TRAIN: set(), EVAL: set()})
    labelers: set[int] = field(default_factory=set)
    judgments: dict[str, array[int]] = field(default_factory=lambda: {TRAIN: array("q"), EVAL: array("q")})
    adjudications: dict[str, array[int]] = field(default_factory=dict)
    margin_sum: float = 0.0
    agreement_sum: float = 0.0
    rewrite_rows: int = 0
    safety: Counter[str] = field(default_factory=Counter)
    import_ids: set[int] = field(default_factory=set)
    model_ids: set[int] = field(default_factory=set)

    def add_outcome(self, outcome: Outcome) -> None:
        self.comparisons += 1
        self.votes_left_out.update(outcome.votes_left_out)
        self.sideless.update(outcome.sideless)
        if outcome.reason:
            self.left_out[outcome.reason] += 1

    def add_line(self, line: Line) -> None:
        self.rows[line.split] += 1
        self.grades[line.verdict.grade or "none"] += 1
        self.prompts[line.split].add(line.data["prompt_id"])
        self.labelers.update(line.verdict.labeler_ids)
        self.judgments[line.split].extend(line.verdict.judgment_ids)
        if line.verdict.adjudication_id:
            self.adjudications.setdefault(line.split, array("q")).append(line.verdict.adjudication_id)
        else:
            self.agreement_sum += line.data["agreement"] or 0.0
        self.margin_sum += line.verdict.margin
        self.safety.update([line.data["safety"]] if line.data["safety"] else [])
        self.rewrite_rows += bool(line.data.get("rewrite"))
        self._note_sources(line.comparison)

    def _note_sources(self, comparison: Comparison) -> None:
        if comparison.source_import_id:
            self.import_ids.add(comparison.source_import_id)
        for response in (comparison.response_a, comparison.response_b):
            if response.model_id:
                self.model_ids.add(response.model_id)

    @property
    def total_rows(self) -> int:
        return self.rows.total()

    @property
    def adjudicated_rows(self) -> int:
        return sum(len(numbers) for numbers in self.adjudications.values())

    def _measure_agreement(self) -> float | None:
        """Over the rows that votes made; a rewrite's are implied, and an adjudicated one is a reviewer's."""
        voted = self.total_rows - self.rewrite_rows - self.adjudicated_rows
        return round(self.agreement_sum / voted, 6) if self.labelers and voted else None

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``DatasetVersion.counts``."""
        votes = {split: len(ids) for split, ids in self.judgments.items()}
        return {
            "comparisons": self.comparisons,
            "rows": self.total_rows,
            "grades": dict(self.grades.most_common()),
            "votes": sum(votes.values()),
            "votes_left_out": dict(self.votes_left_out.most_common()),
            "votes_without_side": dict(self.sideless.most_common()),
            "prompts": sum(len(prompts) for prompts in self.prompts.values()),
            "labelers": len(self.labelers),
            "mean_margin": round(self.margin_sum / self.total_rows, 6) if self.total_rows else None,
            "rewrite_rows": self.rewrite_rows,
            "adjudicated_rows": self.adjudicated_rows,
            "safety": dict(self.safety.most_common()),
            "mean_agreement": self._measure_agreement(),
            "splits": {
                split: {"rows": self.rows[split], "prompts": len(self.prompts[split]), "votes": votes[split]}
                for split in (TRAIN, EVAL)
            },
        }
