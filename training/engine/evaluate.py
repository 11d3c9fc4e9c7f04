"""Evaluation on held-out pairs: the training curves' names with the prefix ``eval_``, and accuracy by grade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from training.engine.batches import Arrangement, Batch
from training.engine.context import Context
from training.engine.data import Row
from training.engine.methods.base import Method
from training.engine.passes import ReferenceLogps, map_rows
from training.engine.stats import (
    correlate_gaps,
    describe_accuracy,
    describe_calibration,
    describe_distributions,
    describe_length_baseline,
    describe_position_baseline,
)


def evaluate(
    context: Context,
    scorer: nn.Module,
    method: Method,
    rows: Sequence[Row],
    arrangement: Arrangement,
    reference: ReferenceLogps | None,
    kl: Tensor | None = None,
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Metrics as averages over rows (never of batch averages), and what they are averages of, by row."""

    def compute(batch: Batch) -> dict[str, Tensor]:
        batch.kl = kl
        terms = method.compute_terms(scorer(batch), batch)
        values = {**terms.logged, "row_loss": terms.row_loss}
        return values if terms.token_loss is None else values | {"token_loss": terms.token_loss}

    scorer.eval()
    columns = map_rows(context, rows, compute, arrangement, message="Evaluating", reference=reference)
    scorer.train()
    metrics = {
        f"eval_{name}": float(column.double().nanmean())
        for name, column in columns.items()
        if name not in ("row_loss", "token_loss") and not bool(column.isnan().all())
    }
    units, tokens = sum(map(method.count_units, rows)), sum(map(method.count_tokens, rows))
    metrics["eval_loss"] = float(columns["row_loss"].double().sum()) / units
    if "token_loss" in columns:
        metrics["eval_nll_loss"] = float(columns["token_loss"].double().sum()) / max(1, tokens)
        metrics["eval_loss"] += method.token_weight * metrics["eval_nll_loss"]
    lists = {name: column.tolist() for name, column in columns.items()}
    correlation = correlate_gaps(
        [first - second for first, second in zip(lists["rewards/chosen"], lists["rewards/rejected"], strict=True)],
        [row.length_gap for row in rows],
    )
    if correlation is not None:
        metrics["eval_rewards/length_correlation"] = correlation
    return metrics, lists


def describe_evaluation(
    rows: Sequence[Row], metrics: dict[str, float], columns: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    """For the result: loss, accuracy overall and by grade beside two baselines, calibration, reward distributions.

    ``columns`` hold a value for each row: ``rewards/accuracies``, ``rewards/chosen``, ``rewards/rejected`` and, where
    the method has it, ``log_odds_chosen``. P(chosen wins) is σ(reward gap), Bradley and Terry's, which a reward model
    and DPO are fitted to; for ORPO it is σ(log odds ratio), the one its loss is made of. ``calibration.of`` says which.
    """
    wins = columns["rewards/accuracies"]
    graded: dict[str, list[float]] = {}
    for row, win in zip(rows, wins, strict=True):
        graded.setdefault(row.grade or "ungraded", []).append(win)
    return {
        "loss": metrics["eval_loss"],
        **describe_accuracy(wins),
        "by_grade": {grade: describe_accuracy(graded[grade]) for grade in sorted(graded)},
        "length_baseline": describe_length_baseline([row.length_gap for row in rows]),
        "position_baseline": describe_position_baseline([row.position for row in rows]),
        **_describe_rewards(columns),
        "metrics": metrics,
    }


def _describe_rewards(columns: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    chosen, rejected = columns["rewards/chosen"], columns["rewards/rejected"]
    odds = columns.get("log_odds_chosen")
    gaps = odds if odds is not None else [first - second for first, second in zip(chosen, rejected, strict=True)]
    return {
        "calibration": {"of": "rewards" if odds is None else "log_odds", **describe_calibration(gaps)},
        "distributions": describe_distributions(chosen, rejected),
    }
