"""Style audit: how far length, lists, bold and headings explain what is chosen, by labelers or by a reward model."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from annotate.quality.intervals import Z95, Estimate
from annotate.quality.votes import Floats, Integers

FEATURES = ("length", "list_items", "bold", "headings")
RIDGE = 0.5
"""Penalty of half the squared coefficients, as in the Arena's style control; keeps separable data finite."""

_LIST_ITEM = re.compile(r"^[ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]+\S", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")
_HEADING = re.compile(r"^#{1,6}[ \t]+\S", re.MULTILINE)


@dataclass(frozen=True)
class StyleEffects:
    """Log-odds of being chosen per standard deviation of each feature; ``side`` is the pull of the left side.

    ``count`` of an estimate is the number of choices. A feature that never differs is not defined.
    """

    features: dict[str, Estimate]
    side: Estimate


def count_style(text: str) -> tuple[int, int, int, int]:
    """Characters, list items, bold passages and headings of a response in Markdown, in the order of FEATURES."""
    return len(text), len(_LIST_ITEM.findall(text)), len(_BOLD.findall(text)), len(_HEADING.findall(text))


def contrast_styles(a: Floats, b: Floats) -> Floats:
    """(a - b) / (a + b + 1) for counts (N, 4): Arena's style control, which measures relative to how much there is."""
    return np.asarray((a - b) / (a + b + 1))


def estimate_style_effects(
    contrast: Floats, choice: Integers, side: Integers, cluster: Integers, *, ridge: float = RIDGE
) -> StyleEffects:
    """Logistic regression of N choices (1 for a, -1 for b) on contrasts (N, 4) and on the side of a (1, 0, -1).

    No intercept and no centring, so that calling a response b instead of a changes nothing. Columns are divided by
    their root mean square. Intervals by the sandwich estimator, clustered (White 1982; Liang and Zeger 1986).
    """
    columns = np.column_stack((contrast, side.astype(np.float64)))
    scale = np.sqrt((columns**2).mean(axis=0)) if len(choice) else np.zeros(columns.shape[1])
    scale[-1] = float(side.any())  # stays in its own unit
    used = np.flatnonzero(scale > 1e-12)
    estimates = [Estimate(None, None, None, len(choice))] * columns.shape[1]
    if len(used) and len(choice):
        values, errors = _fit_logistic(columns[:, used] / scale[used], choice, cluster, ridge)
        for column, value, error in zip(used, values, errors, strict=True):
            low, high = float(value - Z95 * error), float(value + Z95 * error)
            estimates[column] = Estimate(float(value), low, high, len(choice))
    return StyleEffects(dict(zip(FEATURES, estimates[:-1], strict=True)), estimates[-1])


def _fit_logistic(x: Floats, choice: Integers, cluster: Integers, ridge: float) -> tuple[Floats, Floats]:
    """Coefficients (C,) at the maximum of the penalised likelihood, by damped Newton steps, and standard errors."""
    signed = x * choice[:, None]
    beta = np.zeros(x.shape[1])
    value = -np.inf
    for _step in range(100):
        miss = 0.5 * (1 - np.tanh(signed @ beta / 2))
        bread = (signed * (miss * (1 - miss))[:, None]).T @ signed + ridge * np.eye(len(beta))
        step = np.linalg.lstsq(bread, signed.T @ miss - ridge * beta, rcond=None)[0]
        while (new := _evaluate(signed, beta + step, ridge)) < value - 1e-12 * abs(value):
            step = step / 2
        beta, value = beta + step, new
        if np.abs(step).max() < 1e-12:
            break
    miss = 0.5 * (1 - np.tanh(signed @ beta / 2))
    bread = (signed * (miss * (1 - miss))[:, None]).T @ signed + ridge * np.eye(len(beta))
    _ids, row = np.unique(cluster, return_inverse=True)
    scores = np.zeros((int(row.max()) + 1, len(beta)))
    np.add.at(scores, row, signed * miss[:, None])
    inverse = np.linalg.pinv(bread)
    variance = inverse @ (scores.T @ scores) @ inverse * len(scores) / max(len(scores) - 1, 1)
    return beta, np.sqrt(np.maximum(np.diag(variance), 0.0))


def _evaluate(signed: Floats, beta: Floats, ridge: float) -> float:
    return float(-np.logaddexp(0, -(signed @ beta)).sum() - ridge * beta @ beta / 2)
