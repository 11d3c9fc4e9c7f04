"""Estimates with 95 % intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from annotate.quality.votes import Floats, Integers

Z95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval and what it rests on. None stands for a figure that is not defined."""

    value: float | None
    low: float | None
    high: float | None
    count: int
    """Votes, pairs of votes or comparisons: as the function that made it says."""


def estimate_share(hits: float, count: float) -> Estimate:
    """Share of ``hits`` among ``count`` independent trials, by Wilson's score interval (JASA 22, 1927)."""
    if count <= 0:
        return Estimate(None, None, None, 0)
    share = hits / count
    low, high = find_wilson_interval(share, count)
    return Estimate(share, low, high, round(count))


def find_wilson_interval(share: float, count: float) -> tuple[float, float]:
    """Of a share seen in ``count`` trials, which need not be a whole number."""
    shrink = 1 + Z95**2 / count
    centre = (share + Z95**2 / (2 * count)) / shrink
    half = Z95 / shrink * math.sqrt(share * (1 - share) / count + Z95**2 / (4 * count**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def estimate_clustered_shares(
    hits: Floats, trials: Floats, cluster: Integers, group: Integers, groups: int
) -> list[Estimate]:
    """For each group the share Σ hits / Σ trials, where trials of one cluster are not independent.

    The variance is that of a ratio over clusters; Wilson's interval then takes the number of independent trials that
    would have this variance (Korn and Graubard, Survey Methodology 24, 1998), at most the trials there are, and the
    number of clusters where all of them agree. ``hits`` and ``trials`` are (N,); ``count`` is the number of trials.
    """
    keys, cell = np.unique(group * (cluster.max(initial=0) + 1) + cluster, return_inverse=True)
    owner = keys // (cluster.max(initial=0) + 1)
    x, m = np.bincount(cell, hits, len(keys)), np.bincount(cell, trials, len(keys))
    used = m > 0
    owner, x, m = owner[used], x[used], m[used]
    sums = [np.bincount(owner, values, groups) for values in (x, m, x * x, x * m, m * m, np.ones_like(x))]
    return [_estimate_ratio(*(float(column[number]) for column in sums)) for number in range(groups)]


def _estimate_ratio(x: float, m: float, xx: float, xm: float, mm: float, clusters: float) -> Estimate:
    if m == 0:
        return Estimate(None, None, None, 0)
    share = x / m
    spread = xx - 2 * share * xm + share**2 * mm
    independent = clusters
    if clusters > 1 and spread > 1e-12 * mm:
        variance = clusters / (clusters - 1) * spread / m**2
        independent = min(m, share * (1 - share) / variance)
    low, high = find_wilson_interval(share, max(independent, 1e-9))
    return Estimate(share, low, high, round(m))
