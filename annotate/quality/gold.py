"""Gold pairs: how near an answer comes to the known one, and when a labeler is surely below the bar.

``measure_credit`` gives partial credit by distance on the scale; ``measure_evidence`` tests the mean credit in a way
that may be looked at after every answer (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
betting", JRSS B 86, 2024, arXiv 2010.09686).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_STEPS = {
    "three": {"negligibly": 1.0, "slightly": 2.0, "better": 2.5, "significantly": 3.0},
    "four": {"negligibly": 1.0, "slightly": 2.0, "better": 3.0, "significantly": 4.0},
}
"""Scale: how far each grade stands from the middle. A grade that a scale lacks stands between its neighbours."""
ALPHA = 0.01
"""How often a labeler at or above the bar may ever be paused by the test."""
BETS = 20


def measure_credit(scale: str, known: tuple[str, str], said: tuple[str, str]) -> float:
    """Credit in [0, 1] for an answer (winner, grade) where (winner, grade) is ``known``.

    On the signed scale (a's strongest grade at +top, b's at -top, unsure and equal at 0) it is
    1 - |known - said| / (|known| + top): 1 for the known answer, 0 for the one farthest from it. Where both are known
    to be bad, saying so gives 1, a sideless answer 1/2, a side 0. Both bad where that is wrong gives half of what
    unsure would.
    """
    if known[1] == "both_bad":
        return 1.0 if said[1] == "both_bad" else 0.0 if said[0] else 0.5
    steps = _STEPS[scale]
    place, top = _find_place(steps, *known), max(steps.values())
    credit = 1 - abs(place - _find_place(steps, *said)) / (abs(place) + top)
    return credit / 2 if said[1] == "both_bad" else credit


def _find_place(steps: dict[str, float], winner: str, grade: str) -> float:
    return {"a": 1, "b": -1, "": 0}[winner] * steps.get(grade, 0.0)


def measure_evidence(credits: Sequence[float], bar: float) -> float:
    """The e-value against "this labeler's mean credit is at least ``bar``" (0 < bar < 1): large where it is not.

    The mean over bets λ of Π (1 + λ (bar - credit)), the capital of somebody who bets on credits below the bar, with
    λ = k / (BETS + 1) / (1 - bar) for k = 1 .. BETS, so that no bet can lose all (section 4.3 there, "diversified
    Kelly"). Under the hypothesis it is a nonnegative supermartingale that starts at 1: the chance that it *ever*
    reaches 1 / α is at most α (Ville's inequality), however often one looks. The order of the credits is of no matter.
    """
    bets = np.arange(1, BETS + 1) / (BETS + 1) / (1 - bar)
    growth = np.log1p(bets[:, None] * (bar - np.asarray(credits, dtype=np.float64)[None, :])).sum(axis=1)
    return float(np.exp(np.minimum(growth, 700.0)).mean())


def is_below(credits: Sequence[float], bar: float, alpha: float = ALPHA) -> bool:
    """Whether the evidence that the mean credit is below the bar suffices to pause."""
    return measure_evidence(credits, bar) >= 1 / alpha
