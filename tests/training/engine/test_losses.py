"""Losses against values worked by hand, and properties that must hold for any input."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.engine.methods.dpo import dpo_loss
from training.engine.methods.orpo import log1mexp, log_odds_ratio
from training.engine.methods.reward import reward_loss

scores = st.floats(-50, 50, width=32)
mean_logps = st.floats(-30, -0.000030517578125, width=32)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


@pytest.mark.parametrize(("margin", "expected"), [(0, 0.6931), (1, 1.3133), (3, 3.0486)])
def test_reward_loss_of_equal_scores(margin: float, expected: float) -> None:
    assert reward_loss(tensor(0), tensor(0), tensor(margin)).item() == pytest.approx(expected, abs=5e-5)


def test_reward_loss_by_hand() -> None:
    # −log σ(2 − 0.5 − 1) = log(1 + e^−0.5); centring adds 0.01 · 2.5²
    loss = reward_loss(tensor(2), tensor(0.5), tensor(1))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-0.5)), abs=1e-6)
    centred = reward_loss(tensor(2), tensor(0.5), tensor(1), center=0.01)
    assert centred.item() == pytest.approx(math.log1p(math.exp(-0.5)) + 0.0625, abs=1e-6)


def test_reward_loss_refuses_shapes_that_would_mix_pairs() -> None:
    with pytest.raises(ValueError, match="shapes"):
        reward_loss(torch.zeros(3, 1), torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match="shapes"):
        reward_loss(torch.zeros(3), torch.zeros(3), torch.zeros(3, 1))


def test_dpo_loss_at_known_points() -> None:
    loss = dpo_loss(tensor(0, 1, 2), tensor(0, 0, 0))
    assert loss.tolist() == pytest.approx([0.693147, 0.313262, 0.126928], abs=1e-6)


def test_dpo_label_smoothing_is_a_mixture_of_both_labels() -> None:
    # ε = 0.1 at βh = 1: 0.9 · 0.313262 + 0.1 · 1.313262
    assert dpo_loss(tensor(1), tensor(0), 0.1).item() == pytest.approx(0.413262, abs=1e-6)


def test_dpo_offset_moves_the_point_where_the_pair_counts_as_won() -> None:
    assert dpo_loss(tensor(1), tensor(1)).item() == pytest.approx(math.log(2), abs=1e-6)
    assert dpo_loss(tensor(0), tensor(3)).item() == pytest.approx(3.0486, abs=5e-5)


def test_orpo_odds_by_hand() -> None:
    # P = 1/2 has odds 1, P = 1/4 has odds 1/3: their log ratio is log 3
    ratio = log_odds_ratio(tensor(math.log(0.5)), tensor(math.log(0.25)))
    assert ratio.item() == pytest.approx(math.log(3), abs=1e-6)


@given(chosen=scores, rejected=scores, margin=st.floats(0, 3, width=32))
def test_reward_loss_falls_with_the_gap_and_grows_with_the_margin(
    chosen: float, rejected: float, margin: float
) -> None:
    here = reward_loss(tensor(chosen), tensor(rejected), tensor(margin)).item()
    better = reward_loss(tensor(chosen + 1), tensor(rejected), tensor(margin)).item()
    stricter = reward_loss(tensor(chosen), tensor(rejected), tensor(margin + 1)).item()
    assert 0 <= better <= here <= stricter


@given(gap=scores, smoothing=st.floats(0, 0.49))
def test_dpo_loss_of_swapped_sides_differs_by_the_gap(gap: float, smoothing: float) -> None:
    # −log σ(−x) + log σ(x) = x, hence L(−x) − L(x) = (1 − 2ε)·x
    there = dpo_loss(tensor(-gap), tensor(0), smoothing).item()
    here = dpo_loss(tensor(gap), tensor(0), smoothing).item()
    assert there - here == pytest.approx((1 - 2 * smoothing) * gap, abs=1e-4)


@given(x=mean_logps)
def test_log1mexp_agrees_with_double_precision(x: float) -> None:
    expected = math.log(-math.expm1(x))
    assert log1mexp(tensor(x)).item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


@given(chosen=mean_logps, rejected=mean_logps)
def test_log_odds_ratio_changes_sign_with_the_sides(chosen: float, rejected: float) -> None:
    there = log_odds_ratio(tensor(chosen), tensor(rejected)).item()
    assert there == pytest.approx(-log_odds_ratio(tensor(rejected), tensor(chosen)).item(), abs=1e-4)


@pytest.mark.parametrize("x", [0.0, -1e-9, -1e-4, -math.log(2), -5.0, -80.0, -1e4])
def test_log1mexp_has_finite_values_and_gradients(x: float) -> None:
    value = tensor(x).requires_grad_()
    log1mexp(value).sum().backward()  # type: ignore[no-untyped-call]
    assert value.grad is not None
    assert torch.isfinite(log1mexp(value)).all() and torch.isfinite(value.grad).all()
