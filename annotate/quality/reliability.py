"""How reliable each labeler is, and what a pair's votes are worth together.

Most comparisons are of two responses that meet only once, so a ranking cannot be learned from them. What is left of
Bradley-Terry with labeler reliability (crowd_bt.py) is a hidden truth for each pair, as in Dawid and Skene (Applied
Statistics 28, 1979), with two numbers for each labeler. Pair p has truth y_p = 1 (a is better) or -1, either with
probability 1/2. Labeler k, who saw a on the left (s = 1), on the right (s = -1) or nobody knows where (s = 0), votes

    P(vote for a | y, s) = σ(θ_k y + β_k s)

θ_k is the weight of a vote, in log-odds; η_k = σ(θ_k) is the chance of agreeing with the truth where the sides do not
pull. β_k is the pull of the left side. Priors: θ_k ~ N(logit 0.8, 1) and β_k ~ N(0, 1/2²). The prior mean above 1/2 is
what makes the model identifiable: turning all truths and all θ around gives the same likelihood. It also says what a
single vote is worth where nothing is known of the labeler: 0.8, near the agreement with experts that is reported for
such work (0.63 to 0.85; arXiv 2204.05862, 2306.05685). An adversary has θ_k < 0, and their votes count the other way.

The fit goes from the prior's means to a mode of the posterior, truths summed out, by Newton's method, with shorter
steps wherever a whole one would not climb. Where the same two labelers always meet, their votes tell only how often
they agree, not who of them is right: there the posterior bends both ways, and Newton's step follows each bend upwards
(the absolute values of the curvatures). EM needs hundreds to thousands of steps there, and where few pairs have two
votes; it is left for labelers too many to move jointly.

Votes without a side (unsure, equal, both bad) say nothing about which is better and are left out of the fit. Grades
are not used: they say by how much, and become the margin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotate.quality.intervals import Z95, Estimate
from annotate.quality.votes import Floats, Integers, VoteTable, find_shared

PRIOR_MEAN = float(np.log(0.8 / 0.2))
PRIOR_DEVIATION = 1.0
SIDE_DEVIATION = 0.5
MOST_JOINTLY = 400
"""Labelers up to whom one matrix is solved for all; beyond, each moves as if the others stood still."""
_TOLERANCE = 1e-9
_MOST_STEPS = 2000
_SETTLED = 1e-12
_LEAST_CURVATURE = 1e-3
_MOST_HALVINGS = 30
_LONGEST_STEP = 1.0
"""Log-odds, where the posterior is not concave and the step so a guess."""
_PRECISION = np.array([PRIOR_DEVIATION**-2, SIDE_DEVIATION**-2])
_CENTRE = np.array([PRIOR_MEAN, 0.0])

# The six ways in which a vote can meet the truth (u = vote · y) and the left side (w = vote · s).
_U = np.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
_W = np.array([-1.0, 0.0, 1.0, -1.0, 0.0, 1.0])
_FEATURES = np.stack((_U, _W), axis=1)


@dataclass(frozen=True)
class ReliabilityFit:
    """The most probable θ and β of L labelers, and the posterior of P pairs at them.

    ``errors`` (L, 2) are standard errors of θ and β from the observed information.
    ``path`` is the log posterior after each step; it never falls.
    """

    weight: Floats
    side_bias: Floats
    errors: Floats
    posterior: Floats
    path: tuple[float, ...]
    converged: bool

    def describe_reliability(self, labeler: int, votes: int) -> Estimate:
        """η of a labeler with its interval; ``count`` their decided votes."""
        theta, error = self.weight[labeler], self.errors[labeler, 0]
        value, low, high = (float(_sigmoid(theta + shift * error)) for shift in (0, -Z95, Z95))
        return Estimate(value, low, high, votes)


def fit_reliability(table: VoteTable) -> ReliabilityFit:
    """The posterior mode, the same for the same votes in whichever order. Each step costs O(V)."""
    votes = _Decided(table)
    parameters = np.tile(_CENTRE, (table.labelers, 1))
    margins, value = votes.weigh(parameters)
    values, converged = [value], False
    while not converged and len(values) <= _MOST_STEPS:
        step = votes.find_step(parameters, _sigmoid(margins))[0]
        updated = parameters + step
        new_margins, value = votes.weigh(updated)
        for _halving in range(_MOST_HALVINGS if votes.moves_jointly else 0):
            if value >= values[-1]:
                break
            step = step / 2
            updated = parameters + step
            new_margins, value = votes.weigh(updated)
        if not value >= values[-1]:
            updated = _maximise(votes.count_cells(_sigmoid(margins)), parameters)
            new_margins, value = votes.weigh(updated)
        converged = float(np.abs(updated - parameters).max(initial=0.0)) < _TOLERANCE
        parameters, margins = updated, new_margins
        values.append(value)
    return ReliabilityFit(
        weight=parameters[:, 0],
        side_bias=parameters[:, 1],
        errors=votes.find_step(parameters, _sigmoid(margins))[1],
        posterior=_sigmoid(margins),
        path=tuple(values),
        converged=converged,
    )


class _Decided:
    """The votes for a side, sorted so that sums do not depend on the order in which votes came."""

    def __init__(self, table: VoteTable) -> None:
        decided = np.flatnonzero(table.decision)
        order = decided[np.lexsort((table.labeler[decided], table.pair[decided]))]
        self.pair, self.labeler = table.pair[order], table.labeler[order]
        self.vote = table.decision[order].astype(np.float64)
        self.side = table.side[order].astype(np.float64)
        self.pairs, self.labelers = table.pairs, table.labelers
        w = (self.vote * self.side).astype(np.int64) + 1
        agrees = self.vote > 0  # u is 1 where the truth is a and the vote is for a
        self._cell_if_a = self.labeler * 6 + np.where(agrees, 0, 3) + w
        self._cell_if_b = self.labeler * 6 + np.where(agrees, 3, 0) + w
        self._first, self._second = find_shared(self.pair)

    def _find_logits(self, parameters: Floats) -> tuple[Floats, Floats]:
        """Log-odds of the vote that was given, if the truth is a, and if it is b; (V,) each."""
        theta, beta = parameters[self.labeler].T
        pull = beta * self.side
        return self.vote * (theta + pull), self.vote * (pull - theta)

    def weigh(self, parameters: Floats) -> tuple[Floats, float]:
        """(P,) log-odds that a is better; and the log of likelihood times priors, without the priors' constants."""
        if_a, if_b = (_log_sigmoid(logits) for logits in self._find_logits(parameters))
        margins = np.bincount(self.pair, if_a - if_b, self.pairs).astype(np.float64)
        likelihood = if_b.sum() + (np.logaddexp(0, margins) - np.log(2)).sum()
        return margins, float(likelihood - (_PRECISION * (parameters - _CENTRE) ** 2).sum() / 2)

    def count_cells(self, posterior: Floats) -> Floats:
        """(L, 6): votes expected in each of the six cells, given the pairs' posterior."""
        q = posterior[self.pair]
        size = self.labelers * 6
        return np.asarray(np.bincount(self._cell_if_a, q, size) + np.bincount(self._cell_if_b, 1 - q, size)).reshape(
            -1, 6
        )

    def find_step(self, parameters: Floats, posterior: Floats) -> tuple[Floats, Floats]:
        """Newton's step (L, 2) at these parameters, and their standard errors (L, 2).

        The observed information is that of the complete data less what the hidden truth takes away (Louis, J. R. Stat.
        Soc. B 44, 1982).
        """
        gradient, complete = _differentiate(self.count_cells(posterior), parameters)
        if_a, if_b = self._find_logits(parameters)
        pull_a, pull_b = self.vote * _sigmoid(-if_a), self.vote * _sigmoid(-if_b)
        doubt = np.sqrt(posterior * (1 - posterior))[self.pair]
        change = np.stack((doubt * (pull_a + pull_b), doubt * (pull_a - pull_b) * self.side), axis=1)
        own = complete - self._sum_own(change)
        apart = _solve_apart(gradient, complete, own)
        if not self.moves_jointly:
            return apart
        step, errors = _solve_jointly(gradient, own, self._sum_shared(change))
        return step, apart[1] if errors is None else errors

    @property
    def moves_jointly(self) -> bool:
        return self.labelers <= MOST_JOINTLY

    def _sum_own(self, change: Floats) -> Floats:
        """(L, 2, 2): Σ over each labeler's votes."""
        products = (change[:, :, None] * change[:, None, :]).reshape(-1, 4)
        sums = [np.bincount(self.labeler, column, self.labelers) for column in products.T]
        return np.asarray(np.stack(sums, axis=1).reshape(-1, 2, 2), np.float64)

    def _sum_shared(self, change: Floats) -> Floats:
        """(2L, 2L): Σ over each two votes of different labelers on one pair."""
        size = 2 * self.labelers
        total = np.zeros(size * size)
        for row in range(2):
            for column in range(2):
                cell = (2 * self.labeler[self._first] + row) * size + 2 * self.labeler[self._second] + column
                total += np.bincount(cell, change[self._first, row] * change[self._second, column], size * size)
        return np.asarray(total.reshape(size, size) + total.reshape(size, size).T)


def _solve_jointly(gradient: Floats, own: Floats, shared: Floats) -> tuple[Floats, Floats | None]:
    """Without errors where the posterior is not concave: then the step climbs, but leads to no maximum at once."""
    information = -shared
    for labeler, block in enumerate(own):
        here = slice(2 * labeler, 2 * labeler + 2)
        information[here, here] += block
    try:
        np.linalg.cholesky(information)
    except np.linalg.LinAlgError:
        curvatures, axes = np.linalg.eigh(information)
        step = (axes / np.maximum(np.abs(curvatures), _LEAST_CURVATURE)) @ (axes.T @ gradient.ravel())
        return step.reshape(-1, 2) * min(1.0, _LONGEST_STEP / np.abs(step).max()), None
    covariance = np.linalg.inv(information)
    return (covariance @ gradient.ravel()).reshape(-1, 2), np.sqrt(np.diag(covariance)).reshape(-1, 2)


def _solve_apart(gradient: Floats, complete: Floats, own: Floats) -> tuple[Floats, Floats]:
    """Half of each labeler's own step: a whole one would overshoot where all of them move the same way."""
    concave = np.linalg.eigvalsh(own)[:, 0] > _LEAST_CURVATURE
    information = np.where(concave[:, None, None], own, complete)
    step = np.linalg.solve(information, gradient[:, :, None])[:, :, 0] / 2
    return step, np.sqrt(np.linalg.inv(information)[:, (0, 1), (0, 1)])


def _maximise(cells: Floats, start: Floats) -> Floats:
    """(L, 2): for each labeler the maximum of a concave function of θ and β, by damped Newton steps."""
    parameters, value = start, _evaluate(cells, start)
    for _step in range(50):
        gradient, information = _differentiate(cells, parameters)
        step = np.linalg.solve(information, gradient[:, :, None])[:, :, 0]
        for _halving in range(30):
            trial = parameters + step
            new = _evaluate(cells, trial)
            worse = new < value - 1e-12 * np.abs(value)
            if not worse.any():
                break
            step[worse] /= 2
        parameters, value = trial, new
        if np.abs(step).max(initial=0.0) < _SETTLED:
            break
    return parameters


def _evaluate(cells: Floats, parameters: Floats) -> Floats:
    penalty = (_PRECISION * (parameters - _CENTRE) ** 2).sum(axis=1) / 2
    return np.asarray((cells * _log_sigmoid(parameters @ _FEATURES.T)).sum(axis=1) - penalty)


def _differentiate(cells: Floats, parameters: Floats) -> tuple[Floats, Floats]:
    """The gradient (L, 2) and the negative second derivative (L, 2, 2) of ``_evaluate``."""
    miss = _sigmoid(-(parameters @ _FEATURES.T))
    gradient = (cells * miss) @ _FEATURES - _PRECISION * (parameters - _CENTRE)
    outer = _FEATURES[:, :, None] * _FEATURES[:, None, :]
    return gradient, np.tensordot(cells * miss * (1 - miss), outer, 1) + np.diag(_PRECISION)


def _sigmoid(x: Floats | float) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(np.asarray(x) / 2)))


def _log_sigmoid(x: Floats) -> Floats:
    return np.asarray(np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))))


def count_decided(table: VoteTable) -> Integers:
    """(L,): votes of each labeler that name a side."""
    return np.bincount(table.labeler[table.decision != 0], minlength=table.labelers).astype(np.int64)
