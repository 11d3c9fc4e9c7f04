"""What an evaluation says, each figure with its uncertainty: accuracy, calibration, distributions, baselines.

Plain Python, so that the pages may use it too: rewards come in as lists, JSON goes out.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

Z_95 = 1.959963984540054
CONFIDENCE_BINS = 10
USUAL_BINS = 20
MOST_BINS = 40


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927); unlike the normal one it stays within 0 and 1."""
    if trials == 0:
        return (0.0, 1.0)
    share, square = successes / trials, Z_95 * Z_95
    centre = (share + square / (2 * trials)) / (1 + square / trials)
    half = Z_95 * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials)) / (1 + square / trials)
    return (min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))  # min, max: against rounding


def describe_accuracy(hits: Sequence[float]) -> dict[str, Any]:
    """Share of hits (1, 0, or 0.5 for a tie) with interval and number of pairs; accuracy is None without pairs."""
    total = sum(hits)
    low, high = wilson_interval(total, len(hits))
    return {"pairs": len(hits), "accuracy": total / len(hits) if hits else None, "interval": [low, high]}


def describe_length_baseline(length_gaps: Sequence[int]) -> dict[str, Any]:
    """How often the longer reply is the chosen one: what a model that only counts characters would reach."""
    return describe_accuracy([1.0 if gap > 0 else 0.5 if gap == 0 else 0.0 for gap in length_gaps])


def describe_position_baseline(left_shares: Sequence[float | None]) -> dict[str, Any]:
    """How often the reply displayed on the left is the chosen one; None where no vote recorded a side.

    Far from a half, labelers chose by place. A pair's share counts its votes by where the chosen reply stood for each.
    """
    return describe_accuracy([share for share in left_shares if share is not None])


def correlate_gaps(gaps: Sequence[float], length_gaps: Sequence[float]) -> float | None:
    """How far rewards go with length, −1 to 1: Σ g·l / √(Σ g² · Σ l²); None where either is always 0.

    Pearson's correlation with each pair seen from both sides, as in ``describe_calibration``: then both means are 0.
    """
    pairs = [pair for pair in zip(gaps, length_gaps, strict=True) if all(map(math.isfinite, pair))]
    scale = math.sqrt(math.fsum(gap * gap for gap, _length in pairs) * math.fsum(size * size for _gap, size in pairs))
    return math.fsum(gap * size for gap, size in pairs) / scale if scale else None


def describe_calibration(
    gaps: Sequence[float], shares: Sequence[float] | None = None, *, bins: int = CONFIDENCE_BINS
) -> dict[str, Any]:
    """Whether P(chosen wins) = σ(gap) comes true: a reliability curve, and the expected calibration error (ECE).

    ``gaps``: reward of the chosen reply less that of the rejected one. ``shares``: of the votes, those for the chosen
    one; 1 where not given. Pairs whose gap is no finite number are left out.

    Pairs are written chosen first, so that "the first one wins" is always true and a model which says so with
    certainty would look perfect. Hence each pair is looked at from both sides, as (p, y) = (σ(gap), share) and as
    (1 − p, 1 − share). Both say the same of the reply that the model prefers: its confidence max(p, 1 − p), from ½
    to 1, and how often it won. One of them is counted; a gap of 0 prefers neither and is half a hit.

    Bins are equally wide from ½ to 1, empty ones left out. ECE = Σ n_b/N · |accuracy_b − confidence_b| (Naeini, Cooper
    & Hauskrecht 2015; Guo et al., arXiv 1706.04599, equation 3), between 0 and 1; None without pairs.
    """
    filled: dict[int, list[tuple[float, float]]] = {}
    for gap, share in zip(gaps, shares if shares is not None else [1.0] * len(gaps), strict=True):
        if math.isfinite(gap):
            confidence = 1 / (1 + math.exp(-abs(gap)))
            hit = share if gap > 0 else 1 - share if gap < 0 else 0.5
            filled.setdefault(min(bins - 1, int((2 * confidence - 1) * bins)), []).append((confidence, hit))
    rows = [_describe_bin(0.5 + at / (2 * bins), 0.5 + (at + 1) / (2 * bins), filled[at]) for at in sorted(filled)]
    pairs = sum(row["pairs"] for row in rows)
    error = math.fsum(row["pairs"] * abs(row["accuracy"] - row["confidence"]) for row in rows)
    return {"pairs": pairs, "ece": error / pairs if pairs else None, "bins": rows}


def describe_distributions(chosen: Sequence[float], rejected: Sequence[float]) -> dict[str, Any]:
    """Histograms of the rewards of both sides over common bins; ``edges`` has one number more than ``counts``.

    ``std`` is that of the population. Pairs in which a reward is no finite number are left out.
    """
    pairs = [pair for pair in zip(chosen, rejected, strict=True) if all(map(math.isfinite, pair))]
    sides = {"chosen": [first for first, _second in pairs], "rejected": [second for _first, second in pairs]}
    edges = choose_edges(sides["chosen"] + sides["rejected"])
    return {
        "pairs": len(pairs),
        "edges": edges,
        **{name: {**_describe_values(values), "counts": _count_in(values, edges)} for name, values in sides.items()},
    }


def choose_edges(values: Sequence[float]) -> list[float]:
    """Equally wide bins over finite values, by Freedman & Diaconis (1981): width 2·IQR/∛n; one that holds a single one.

    Where the middle half is all one value, or the width gives more than MOST_BINS: USUAL_BINS, or MOST_BINS.
    """
    if not values:
        return []
    low, high = min(values), max(values)
    if low == high:
        return [low - 0.5, high + 0.5]
    first, _median, third = statistics.quantiles(values, n=4, method="inclusive")
    width = 2 * (third - first) / len(values) ** (1 / 3)
    count = math.ceil(min(MOST_BINS, (high - low) / width)) if width > 0 else USUAL_BINS
    return [low + (high - low) * at / count for at in range(count)] + [high]


def _describe_bin(low: float, high: float, members: Sequence[tuple[float, float]]) -> dict[str, Any]:
    confidence = math.fsum(confidence for confidence, _hit in members) / len(members)
    return {"from": low, "to": high, "confidence": confidence, **describe_accuracy([hit for _conf, hit in members])}


def _describe_values(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"mean": None, "std": None}
    mean = math.fsum(values) / len(values)
    return {"mean": mean, "std": math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))}


def _count_in(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    counts = [0] * max(0, len(edges) - 1)
    for value in values:
        at = int((value - edges[0]) / (edges[-1] - edges[0]) * len(counts))
        counts[min(at, len(counts) - 1)] += 1
    return counts
