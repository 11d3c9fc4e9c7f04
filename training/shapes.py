"""Known bad shapes of curves: what goes wrong in training and can be seen from its figures alone.

Pure: curves in, findings out; their words and advice are in views/alerts.py. A worker looks whenever it files figures,
and keeps what it finds with the run. Every rule asks for enough evidence to stay silent on noise:
tests/training/test_shapes.py measures how often each rings on healthy and on bad curves.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from training.engine.stats import Z_95, wilson_interval
from training.selectors import MetricSeries

LEAST_ROWS = 30
"""Before that no curve has a shape."""
LEAST_PAIRS = 400
"""For accuracies: the 95 % interval of a half is then ± 0.05."""
CHANCE_LIMIT = 0.6
"""At chance: the whole interval lies below. Every reward model of Llama 2's table 28 reached 0.625 on real votes."""
INVERTED_LIMIT = 0.45
"""Worse than chance, and far enough that chance does not look so."""
DISTANCE_LIMIT = 100.0
"""Nats from the reference. The widest that Gao et al. went (arXiv 2210.10760: √KL up to 10); the true reward had fallen
long before."""
FALL_LIMIT = 0.2
"""Share of the log-probability that chosen and rejected replies both lost: likelihood displacement (Pal et al., arXiv
2402.13228; Razin et al., arXiv 2410.08847). The share is our judgment."""
LENGTH_LIMIT = 0.5
"""Correlation of reward gaps with length gaps (Singhal et al., arXiv 2310.03716, find up to 0.7 to 0.8 where length is
nearly all that is learned), by the lower end of its interval."""
SPIKE_SIGMAS = 10.0
"""Robust standard deviations (1.4826 · MAD) above the median before, and twice that median."""
GRADIENT_FACTOR, GRADIENT_FLOOR = 10.0, 10.0
"""A norm of ten times the median, and above what axolotl's documentation calls healthy (0.01 to 10)."""
FLAT_SIGMAS = 2.0
FLAT_SHARE = 0.02
"""A loss that fell by less than that share, and by less than noise, in the whole first third or more of the run."""
OVERFIT_RISE = 0.05
OVERFIT_EVALUATIONS = 3
"""Held-out loss by so much above its best, at each of so many evaluations since."""

PAIRED = ("reward", "dpo", "ipo", "kto", "orpo", "cpo", "simpo", "arpo")
REFERRED = ("dpo", "ipo")


@dataclass(frozen=True)
class Finding:
    """``value`` is what was measured and ``limit`` what it broke; ``step`` where the evidence ends."""

    code: str
    step: int
    value: float
    limit: float


@dataclass(frozen=True)
class Setting:
    """What of a run's settings the rules need."""

    method: str
    pairs_per_row: float
    beta: float = 0.1
    total_steps: int = 0
    eval_rows: int = 0


@dataclass(frozen=True)
class Line:
    """The points of one metric."""

    steps: list[int]
    means: list[float]
    highs: list[float]
    counts: list[int]

    @property
    def rows(self) -> int:
        return sum(self.counts)


def find_bad_shapes(series: MetricSeries, setting: Setting) -> list[Finding]:
    """At most one finding of each kind."""
    return [
        *_find_chance(series, setting),
        *_find_distance(series, setting),
        *_find_fall(series),
        *_find_spike(read_line(series, "loss")),
        *_find_gradient(read_line(series, "grad_norm")),
        *_find_flat(read_line(series, "loss"), setting),
        *_find_overfit(read_line(series, "eval_loss")),
        *_find_length(read_line(series, "eval_rewards/length_correlation"), setting),
    ]


def read_line(series: MetricSeries, name: str) -> Line:
    means = series.values.get(name, [])
    highs = series.highs.get(name) or means
    counts = series.counts or [1] * len(means)
    points = [
        (step, mean, high, count)
        for step, mean, high, count in zip(series.steps, means, highs, counts, strict=False)
        if mean is not None and high is not None
    ]
    steps, averages, tops, numbers = ([point[at] for point in points] for at in range(4))
    return Line(steps, averages, tops, numbers)  # type: ignore[arg-type]


def _find_chance(series: MetricSeries, setting: Setting) -> Iterator[Finding]:
    """Over the last half of the run so far, since accuracies begin at chance."""
    line = read_line(series, "rewards/accuracies")
    if setting.method not in PAIRED or line.rows < LEAST_ROWS:
        return
    half = len(line.means) // 2
    pairs = sum(line.counts[half:]) * setting.pairs_per_row
    if pairs < LEAST_PAIRS:
        return
    mean = _average(line.means[half:], line.counts[half:])
    _low, high = wilson_interval(mean * pairs, round(pairs))
    if mean < INVERTED_LIMIT and high < 0.5:
        yield Finding("inverted", line.steps[-1], mean, INVERTED_LIMIT)
    elif high < CHANCE_LIMIT:
        yield Finding("chance", line.steps[-1], mean, CHANCE_LIMIT)


def _find_distance(series: MetricSeries, setting: Setting) -> Iterator[Finding]:
    """KTO logs its KL; else β times log π/π_ref of the replies are their rewards. Far, and twice as far as midway."""
    lines = [(read_line(series, "kl"), 1.0)]
    if setting.method in REFERRED and setting.beta > 0:
        lines = [(read_line(series, f"rewards/{side}"), setting.beta) for side in ("chosen", "rejected")]
    for line, beta in lines:
        if line.rows < LEAST_ROWS or len(line.means) < 10:
            continue
        middle, end = len(line.means) // 2, len(line.means) // 10
        late = abs(_average(line.means[-end:], line.counts[-end:])) / beta
        midway = abs(_average(line.means[middle - end : middle], line.counts[middle - end : middle])) / beta
        if late > DISTANCE_LIMIT and late > 2 * midway:
            yield Finding("distance", line.steps[-1], late, DISTANCE_LIMIT)
            return


def _find_fall(series: MetricSeries) -> Iterator[Finding]:
    falls = []
    for side in ("chosen", "rejected"):
        line = read_line(series, f"logps/{side}")
        if line.rows < LEAST_ROWS:
            return
        early, late, error = _compare_ends(line, 0.1)
        falls.append((early - late) / abs(early) if early and early - late > 4 * error else 0.0)
    if min(falls) > FALL_LIMIT:
        yield Finding("fall", line.steps[-1], min(falls), FALL_LIMIT)


def _find_spike(line: Line) -> Iterator[Finding]:
    for step, high, median, spread in _look_back(line):
        limit = max(2 * abs(median), median + SPIKE_SIGMAS * 1.4826 * spread)
        if spread and high > limit:
            yield Finding("spike", step, high, limit)
            return


def _find_gradient(line: Line) -> Iterator[Finding]:
    for step, high, median, _spread in _look_back(line):
        limit = max(GRADIENT_FLOOR, GRADIENT_FACTOR * median)
        if high > limit:
            yield Finding("gradient", step, high, limit)
            return


def _look_back(line: Line) -> Iterator[tuple[int, float, float, float]]:
    """Each point with the median, and the median distance from it, of the points before; newest first."""
    if line.rows < LEAST_ROWS or len(line.means) < LEAST_ROWS:
        return
    for at in range(len(line.means) - 1, LEAST_ROWS // 2, -1):
        before = line.highs[max(0, at - 50) : at]
        if line.highs[at] <= 2 * abs(statistics.fmean(before)) and line.highs[at] < GRADIENT_FLOOR:
            continue  # can be neither
        median = statistics.median(before)
        yield line.steps[at], line.highs[at], median, statistics.median(abs(value - median) for value in before)


def _find_flat(line: Line, setting: Setting) -> Iterator[Finding]:
    if line.rows < 2 * LEAST_ROWS or len(line.means) < 20 or 3 * line.steps[-1] < setting.total_steps:
        return
    early, late, error = _compare_ends(line, 0.2)
    gain = early - late
    if gain < FLAT_SHARE * abs(early) and gain < FLAT_SIGMAS * error:
        yield Finding("flat", line.steps[-1], gain, FLAT_SHARE * abs(early))


def _find_overfit(line: Line) -> Iterator[Finding]:
    if len(line.means) <= OVERFIT_EVALUATIONS:
        return
    best = min(line.means)
    since = line.means[line.means.index(best) + 1 :][-OVERFIT_EVALUATIONS:]
    limit = best + OVERFIT_RISE * abs(best)
    if len(since) == OVERFIT_EVALUATIONS and min(since) > limit:
        yield Finding("overfit", line.steps[line.means.index(best)], line.means[-1], limit)


def _find_length(line: Line, setting: Setting) -> Iterator[Finding]:
    """By Fisher's interval of a correlation."""
    if not line.means or setting.eval_rows < LEAST_ROWS:
        return
    bounded = min(0.999, max(-0.999, line.means[-1]))
    low = math.tanh(math.atanh(bounded) - Z_95 / math.sqrt(setting.eval_rows - 3))
    if low > LENGTH_LIMIT:
        yield Finding("length", line.steps[-1], line.means[-1], LENGTH_LIMIT)


def _compare_ends(line: Line, share: float) -> tuple[float, float, float]:
    """Means of the first and the last ``share`` of the points, and the standard error of their difference."""
    count = max(5, round(share * len(line.means)))
    ends = line.means[:count], line.means[-count:]
    error = math.sqrt(sum(statistics.variance(end) / len(end) for end in ends))
    return statistics.fmean(ends[0]), statistics.fmean(ends[1]), error


def _average(values: Sequence[float], counts: Sequence[int]) -> float:
    return math.fsum(value * count for value, count in zip(values, counts, strict=True)) / sum(counts)


def describe_setting(method: str, config: dict[str, Any], total_steps: int, eval_rows: int) -> Setting:
    """Of a run's checked settings; an older one may lack some."""
    rows = config.get("batch_size", 1) * config.get("gradient_accumulation", 1) * config.get("logging_steps", 1)
    return Setting(method, rows, config.get("beta") or 0.1, total_steps, eval_rows)
