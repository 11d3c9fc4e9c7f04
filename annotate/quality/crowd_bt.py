"""Ranking items that meet often, such as models, by votes of labelers who are not equally reliable.

Crowd-BT (Chen, Bennett, Collins-Thompson and Horvitz, WSDM 2013, equation 6): item i has strength x_i, labeler k agrees
with the true order with probability η_k, and says that i is better than j with probability

    η_k σ(x_i - x_j) + (1 - η_k) σ(x_j - x_i)

Priors: x_i ~ N(0, 3²), which ties down the origin as the virtual node of the paper does, and η_k ~ Beta(5, 2), whose
mode 0.8 breaks the tie between a ranking with honest labelers and the same ranking upside down with liars. Fitted by
Newton's method on all x_i and logit η_k at once, and by a step of EM over the hidden event that a vote follows the true
order where a Newton step would not climb. Votes without a side are left out: counting draws as half a win predicts
worse (arXiv 2510.02306).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotate.quality.votes import Floats, Integers

MOST_ITEMS = 2000
"""Items and labelers together: their matrix is dense."""
STRENGTH_DEVIATION = 3.0
AGREEING, DISAGREEING = 5.0, 2.0
"""Parameters of the Beta prior of η."""
_TOLERANCE = 1e-9
_MOST_STEPS = 2000


@dataclass(frozen=True)
class Ranking:
    """Strengths (N,) in natural log-odds with standard errors, η (K,), and the log posterior after each step."""

    strength: Floats
    errors: Floats
    reliability: Floats
    path: tuple[float, ...]
    converged: bool


def rank_items(winner: Integers, loser: Integers, labeler: Integers, items: int, labelers: int) -> Ranking:
    """The most probable strengths and reliabilities given V votes (V,): labeler k said that winner beats loser.

    Raises ValueError for more items and labelers than a dense matrix should hold.
    """
    if items + labelers > MOST_ITEMS:
        raise ValueError(f"{items} items and {labelers} labelers are more than {MOST_ITEMS} together.")
    votes = _Matches(winner, loser, labeler, items, labelers)
    parameters = np.concatenate((np.zeros(items), np.full(labelers, np.log((AGREEING - 1) / (DISAGREEING - 1)))))
    path, converged = [votes.find_log_posterior(parameters)], False
    while not converged and len(path) <= _MOST_STEPS:
        updated = parameters + votes.find_step(parameters)[0]
        value = votes.find_log_posterior(updated)
        if not value >= path[-1]:
            updated = votes.expect_and_maximise(parameters)
            value = votes.find_log_posterior(updated)
        converged = float(np.abs(updated - parameters).max(initial=0.0)) < _TOLERANCE
        parameters = updated
        path.append(value)
    errors = votes.find_step(parameters)[1]
    return Ranking(parameters[:items], errors[:items], _sigmoid(parameters[items:]), tuple(path), converged)


class _Matches:
    """Votes, sorted so that sums do not depend on the order in which they came. Parameters are x, then logit η."""

    def __init__(self, winner: Integers, loser: Integers, labeler: Integers, items: int, labelers: int) -> None:
        order = np.lexsort((loser, winner, labeler))
        self.winner, self.loser, self.labeler = winner[order], loser[order], labeler[order]
        self.items, self.size = items, items + labelers

    def _find_chances(self, parameters: Floats) -> tuple[Floats, Floats, Floats]:
        """σ(x_winner - x_loser), η, and the chance of the vote as it was given; (V,) each."""
        ahead = _sigmoid(parameters[self.winner] - parameters[self.loser])
        eta = _sigmoid(parameters[self.items + self.labeler])
        return ahead, eta, eta * ahead + (1 - eta) * (1 - ahead)

    def find_log_posterior(self, parameters: Floats) -> float:
        strength, logit = parameters[: self.items], parameters[self.items :]
        prior = (AGREEING - 1) * _log_sigmoid(logit).sum() + (DISAGREEING - 1) * _log_sigmoid(-logit).sum()
        with np.errstate(divide="ignore"):  # a step so long that a vote becomes impossible is not taken
            likelihood = np.log(self._find_chances(parameters)[2]).sum()
        return float(likelihood + prior - (strength**2).sum() / (2 * STRENGTH_DEVIATION**2))

    def find_step(self, parameters: Floats) -> tuple[Floats, Floats]:
        """Newton's step and standard errors; directions in which the posterior curves upwards are taken as if down."""
        ahead, eta, chance = self._find_chances(parameters)
        slope, spread = ahead * (1 - ahead), eta * (1 - eta)
        lead, trust = (2 * eta - 1) * slope / chance, (2 * ahead - 1) * spread / chance
        gradient = self._add_up(lead, trust) + self._find_prior_gradient(parameters)
        information = self._tabulate(
            lead**2 - lead * (1 - 2 * ahead),
            lead * trust - 2 * slope * spread / chance,
            trust**2 - trust * (1 - 2 * eta),
        ) + np.diag(self._find_prior_curvature(parameters))
        values, vectors = np.linalg.eigh(information)
        values = np.maximum(np.abs(values), 1e-3)
        return vectors @ ((vectors.T @ gradient) / values), np.sqrt((vectors**2 / values).sum(axis=1))

    def expect_and_maximise(self, parameters: Floats) -> Floats:
        """A step of EM: η exactly, the strengths by one Newton step, halved until it climbs."""
        ahead, eta, chance = self._find_chances(parameters)
        honest = eta * ahead / chance
        agreed = np.bincount(self.labeler, honest, self.size - self.items) + AGREEING - 1
        opposed = np.bincount(self.labeler, 1 - honest, self.size - self.items) + DISAGREEING - 1
        strength = parameters[: self.items]
        nothing = np.zeros_like(ahead)
        pull = self._add_up(honest - ahead, nothing)[: self.items] - strength / STRENGTH_DEVIATION**2
        table = self._tabulate(ahead * (1 - ahead), nothing, nothing)[: self.items, : self.items]
        step = np.linalg.solve(table + np.eye(self.items) / STRENGTH_DEVIATION**2, pull)
        value = self._expect(honest, strength)
        while self._expect(honest, strength + step) < value - 1e-12 * abs(value):
            step /= 2
        return np.concatenate((strength + step, np.log(agreed / opposed)))

    def _expect(self, honest: Floats, strength: Floats) -> float:
        lead = strength[self.winner] - strength[self.loser]
        fit = honest * _log_sigmoid(lead) + (1 - honest) * _log_sigmoid(-lead)
        return float(fit.sum() - (strength**2).sum() / (2 * STRENGTH_DEVIATION**2))

    def _add_up(self, lead: Floats, trust: Floats) -> Floats:
        """Σ over votes of lead · (e_winner - e_loser) + trust · e_labeler."""
        total = np.bincount(self.winner, lead, self.size) - np.bincount(self.loser, lead, self.size)
        return np.asarray(total + np.bincount(self.items + self.labeler, trust, self.size))

    def _tabulate(self, leads: Floats, mixed: Floats, trusts: Floats) -> Floats:
        """The symmetric matrix of second-order sums that goes with ``_add_up``."""
        who = self.items + self.labeler
        cells = (
            (self.winner, self.loser, -leads),
            (self.winner, who, mixed),
            (self.loser, who, -mixed),
            (self.winner, self.winner, leads / 2),
            (self.loser, self.loser, leads / 2),
            (who, who, trusts / 2),
        )
        total = np.zeros(self.size**2)
        for row, column, weight in cells:
            total += np.bincount(row * self.size + column, weight, self.size**2)
        table = total.reshape(self.size, self.size)
        return np.asarray(table + table.T)

    def _find_prior_gradient(self, parameters: Floats) -> Floats:
        eta = _sigmoid(parameters[self.items :])
        trust = (AGREEING - 1) * (1 - eta) - (DISAGREEING - 1) * eta
        return np.concatenate((-parameters[: self.items] / STRENGTH_DEVIATION**2, trust))

    def _find_prior_curvature(self, parameters: Floats) -> Floats:
        eta = _sigmoid(parameters[self.items :])
        trust = (AGREEING + DISAGREEING - 2) * eta * (1 - eta)
        return np.concatenate((np.full(self.items, STRENGTH_DEVIATION**-2), trust))


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))


def _log_sigmoid(x: Floats) -> Floats:
    return np.asarray(np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))))
