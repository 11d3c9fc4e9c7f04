"""Agreement against tables worked by hand, and against the libraries krippendorff and statsmodels."""

from __future__ import annotations

from typing import Literal

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from statsmodels.stats.inter_rater import cohens_kappa, fleiss_kappa
from statsmodels.stats.proportion import proportion_confint

from annotate.quality.agreement import (
    estimate_cohen,
    measure_agreement,
    measure_agreement_by,
    measure_alpha,
    measure_cohen,
    measure_fleiss,
)
from annotate.quality.intervals import estimate_clustered_shares, estimate_share
from annotate.quality.votes import Integers, VoteTable
from tests.annotate.quality.tables import draw_votes, turn_around, vote_tables

KRIPPENDORFF_C = np.array(
    # Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: four observers, twelve units.
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, np.nan, np.nan, np.nan],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, np.nan, 3],
        [np.nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, np.nan],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, np.nan],
    ]
)


def count_values(data: np.ndarray, values: int) -> np.ndarray:
    return np.stack([(data == value).sum(axis=0) for value in range(1, values + 1)], axis=1).astype(np.int64)


def test_alpha_of_krippendorffs_own_example() -> None:
    counts = count_values(KRIPPENDORFF_C, 5)
    assert measure_alpha(counts).value == pytest.approx(0.743, abs=5e-4)
    assert measure_alpha(counts, ordinal=True).value == pytest.approx(0.815, abs=5e-4)
    assert measure_alpha(counts).count == 11  # the last unit has one value only


def test_alpha_worked_by_hand() -> None:
    # aa, ab, bb: coincidences aa 2, ab 1, ba 1, bb 2; n = 6. Seen 2/6, expected 18/30: 1 - (1/3)/(3/5) = 4/9.
    counts = np.array([[0, 0, 2], [1, 0, 1], [2, 0, 0]])
    assert measure_alpha(counts).value == pytest.approx(4 / 9)


@given(vote_tables())
def test_alpha_equals_the_library(table: VoteTable) -> None:
    scales: list[tuple[Integers, Literal["nominal", "ordinal"]]] = [
        (table.count_decisions(), "nominal"),
        (table.count_levels(), "ordinal"),
    ]
    for counts, level in scales:
        ours = measure_alpha(counts, ordinal=level == "ordinal").value
        used = counts[counts.sum(axis=1) >= 2].sum(axis=0)
        if ours is None:
            assert np.count_nonzero(used) < 2
        else:
            theirs = krippendorff.alpha(
                value_counts=counts, value_domain=np.arange(counts.shape[1]), level_of_measurement=level
            )
            assert ours == pytest.approx(theirs, abs=1e-9)


@given(vote_tables())
def test_which_response_is_called_a_changes_no_agreement(table: VoteTable) -> None:
    other = turn_around(table)
    assert measure_agreement(table) == measure_agreement(other)
    for name in ("count_decisions", "count_levels"):
        one, two = (measure_alpha(getattr(each, name)(), ordinal=True).value for each in (table, other))
        assert one == pytest.approx(two)


def test_the_interval_of_alpha_covers_the_truth_as_often_as_it_says() -> None:
    # Two values, right with probability 0.8 each: agreement 0.68, expected by chance 0.5, alpha 0.36.
    theta, hits = np.full(12, np.log(4)), 0
    for seed in range(200):
        counts = draw_votes(theta, np.zeros(12), pairs=120, votes_a_pair=3, seed=seed).table.count_decisions()
        alpha = measure_alpha(counts)
        assert alpha.low is not None and alpha.high is not None
        hits += alpha.low <= 0.36 <= alpha.high
    assert 180 <= hits <= 200


def test_raw_agreement_worked_by_hand() -> None:
    # Pair 1: a, a, b (one of three pairs of votes agrees); pair 2: neither, neither (one of one); pair 3: one vote.
    table = VoteTable.build([1, 1, 1, 2, 2, 3], [1, 2, 3, 1, 2, 1], [1, 4, -1, 0, 0, 2])
    agreement = measure_agreement(table)
    assert agreement.value == pytest.approx(2 / 4) and agreement.count == 4
    by_labeler = measure_agreement_by(table, table.labeler, 3)
    assert [share.value for share in by_labeler] == pytest.approx([2 / 3, 2 / 3, 0.0])
    assert [share.count for share in by_labeler] == [3, 3, 2]


def test_wilsons_interval_equals_the_library() -> None:
    for hits, count in ((0, 1), (3, 10), (40, 40), (555, 1000)):
        share = estimate_share(hits, count)
        assert (share.low, share.high) == pytest.approx(proportion_confint(hits, count, method="wilson"), abs=1e-9)


def test_votes_of_one_cluster_are_worth_one_vote() -> None:
    hits = np.repeat([1.0, 0.0, 1.0, 1.0, 0.0] * 8, 25)
    cluster = np.repeat(np.arange(40), 25)
    zeros = np.zeros(1000, dtype=np.int64)
    (together,) = estimate_clustered_shares(hits, np.ones(1000), cluster, zeros, 1)
    (apart,) = estimate_clustered_shares(hits, np.ones(1000), np.arange(1000), zeros, 1)
    forty, thousand = estimate_share(24, 40), estimate_share(600, 1000)
    assert together.value == apart.value == 0.6
    assert together.low == pytest.approx(forty.low, abs=0.01) and together.high == pytest.approx(forty.high, abs=0.01)
    assert apart.low == pytest.approx(thousand.low, abs=0.001)


@pytest.mark.filterwarnings("ignore:invalid value")
@given(vote_tables(least=2))
def test_cohens_kappa_equals_the_library(table: VoteTable) -> None:
    for both in measure_cohen(table, at_least=1):
        confusion = np.zeros((3, 3), dtype=np.int64)
        for pair in range(table.pairs):
            said = [table.decision[(table.pair == pair) & (table.labeler == who)] for who in (both.first, both.second)]
            if len(said[0]) and len(said[1]):
                confusion[said[0][0] + 1, said[1][0] + 1] += 1
        assert both.kappa.count == confusion.sum()
        if both.kappa.value is not None:
            assert both.kappa.value == pytest.approx(cohens_kappa(confusion).kappa, abs=1e-9)


def test_the_error_of_cohens_kappa_equals_the_library() -> None:
    confusion = np.array([[22, 3, 5], [4, 9, 2], [1, 6, 30]])
    theirs, ours = cohens_kappa(confusion), estimate_cohen(confusion)
    assert (ours.value, ours.low, ours.high) == pytest.approx((theirs.kappa, theirs.kappa_low, theirs.kappa_upp))
    assert estimate_cohen(np.diag([5, 0, 0])).value is None


def test_fleiss_kappa_equals_the_library_and_takes_one_number_of_votes() -> None:
    counts = draw_votes(np.full(9, 1.0), np.zeros(9), pairs=50, votes_a_pair=4, unsure=0.1).table.count_decisions()
    fleiss = measure_fleiss(np.concatenate((counts, [[1, 0, 1], [0, 0, 1]])))
    assert fleiss.value == pytest.approx(fleiss_kappa(counts)) and fleiss.count == 50


def test_nothing_to_compare_is_not_defined() -> None:
    table = VoteTable.build([1, 2], [1, 1], [1, -1])
    assert measure_agreement(table).value is None
    assert measure_alpha(table.count_decisions()).value is None
    assert measure_fleiss(table.count_decisions()).value is None
    assert measure_cohen(table) == []
    nothing = VoteTable.build([], [], [])
    assert measure_agreement(nothing).value is None and measure_cohen(nothing) == []
