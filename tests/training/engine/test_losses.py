"""Every loss against values worked by hand, from scores as the engine's scorers give them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.training.engine.runs import make_row
from training.engine.batches import Arrangement, Batch, collate
from training.engine.config import TrainingConfig
from training.engine.methods import make_method
from training.engine.methods.arpo import adaptive_penalty
from training.engine.methods.base import Terms, logistic_loss
from training.engine.methods.orpo import log1mexp, log_odds_ratio

LN2 = 0.693147


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


def score_pair(
    method: str,
    chosen: float,
    rejected: float,
    *,
    prompt: float = 0.0,
    reference: tuple[float, float] | None = None,
    lengths: tuple[int, int] = (2, 2),
    row: dict[str, Any] | None = None,
    **settings: Any,
) -> Terms:
    """The terms of one pair, from the summed log-probabilities (or rewards) of its sides."""
    batch = collate([make_row(*lengths, **(row or {}))], Arrangement(pad_id=0), reference_logps=_wrap(reference))
    scores = [chosen, rejected] if method == "reward" else [chosen, rejected, prompt]
    return make_method(TrainingConfig.from_dict(method, settings)).compute_terms(tensor(*scores), batch)


def _wrap(reference: tuple[float, float] | None) -> list[tuple[float, float]] | None:
    return None if reference is None else [reference]


def loss_of(*args: Any, **settings: Any) -> float:
    return score_pair(*args, **settings).row_loss.item()


# Reward model


@pytest.mark.parametrize(("margin", "expected"), [(0, 0.6931), (1, 1.3133), (3, 3.0486)])
def test_reward_of_a_head_of_zeros(margin: float, expected: float) -> None:
    # −log σ(0 − m) = log(1 + e^m)
    assert loss_of("reward", 0, 0, row={"margin": margin}) == pytest.approx(expected, abs=5e-5)


def test_reward_with_margin_and_centring() -> None:
    # −log σ(2 − 0.5 − 1) = log(1 + e^−0.5) = 0.474077; centring adds 0.01 · (2 + 0.5)² = 0.0625
    assert loss_of("reward", 2, 0.5, row={"margin": 1}) == pytest.approx(0.474077, abs=1e-6)
    assert loss_of("reward", 2, 0.5, row={"margin": 1}, center_rewards=0.01) == pytest.approx(0.536577, abs=1e-6)


def test_reward_logs_accuracy_and_margin_under_both_names() -> None:
    logged = score_pair("reward", 2, 0.5).logged
    assert logged["accuracy"] == logged["rewards/accuracies"] == 1
    assert logged["margin"] == logged["rewards/margins"] == 1.5
    assert score_pair("reward", 1, 1).logged["accuracy"] == 0  # a tie is no success


# DPO


@pytest.mark.parametrize(("z", "expected"), [(0, LN2), (1, 0.313262), (2, 0.126928)])
def test_dpo_sigmoid(z: float, expected: float) -> None:
    # β = 0.1: the chosen side gains 5z over the reference, the rejected one loses 5z
    assert loss_of("dpo", -30 + 5 * z, -40 - 5 * z, reference=(-30, -40)) == pytest.approx(expected, abs=1e-6)


def test_dpo_offset_asks_for_a_larger_gap() -> None:
    # z = 1: a margin of 1 brings the pair back to log 2
    assert loss_of("dpo", 10, 0, reference=(0, 0), row={"margin": 1}) == pytest.approx(LN2, abs=1e-6)
    assert loss_of("dpo", 0, 0, reference=(0, 0), row={"margin": 3}) == pytest.approx(3.048587, abs=1e-6)


def test_conservative_dpo_mixes_both_labels() -> None:
    # ε = 0.1, z = 1: 0.9 · 0.313262 + 0.1 · 1.313262 = 0.413262
    assert loss_of("dpo", 10, 0, reference=(0, 0), label_smoothing=0.1) == pytest.approx(0.413262, abs=1e-6)


def test_soft_label_mixes_both_labels() -> None:
    # q = 0.75, z = 1: 0.75 · 0.313262 + 0.25 · 1.313262 = 0.563262
    assert loss_of("dpo", 10, 0, reference=(0, 0), row={"soft_label": 0.75}) == pytest.approx(0.563262, abs=1e-6)
    # with ε = 0.1 the label is right with 0.75 · 0.9 + 0.25 · 0.1 = 0.7: 0.7 · 0.313262 + 0.3 · 1.313262 = 0.613262
    both = loss_of("dpo", 10, 0, reference=(0, 0), row={"soft_label": 0.75}, label_smoothing=0.1)
    assert both == pytest.approx(0.613262, abs=1e-6)


def test_robust_dpo() -> None:
    # ε = 0.1, z = 1: (0.9 · 0.313262 − 0.1 · 1.313262) / 0.8 = 0.188262
    settings = {"dpo_loss": "robust", "label_smoothing": 0.1}
    assert loss_of("dpo", 10, 0, reference=(0, 0), **settings) == pytest.approx(0.188262, abs=1e-6)
    # z = 2 beyond a margin of 1 is the same
    assert loss_of("dpo", 20, 0, reference=(0, 0), row={"margin": 1}, **settings) == pytest.approx(0.188262, abs=1e-6)
    # a share of 0.1 flipped labels gives the clean loss: 0.9 · L(z) + 0.1 · L(−z) = −log σ(1)
    flipped = loss_of("dpo", 0, 10, reference=(0, 0), **settings)
    assert 0.9 * 0.188262 + 0.1 * flipped == pytest.approx(0.313262, abs=1e-5)


@pytest.mark.parametrize(
    ("chosen", "row", "expected"),
    [
        (0, {}, 1.0),
        (5, {}, 0.5),  # z = 0.5: 1 − 0.5
        (20, {}, 0.0),  # z = 2, beyond the hinge
        (5, {"margin": 1}, 1.5),  # 1 − (0.5 − 1)
        (5, {"soft_label": 0.75}, 0.75),  # 0.75 · 0.5 + 0.25 · 1.5
    ],
)
def test_hinge(chosen: float, row: dict[str, float], expected: float) -> None:
    assert loss_of("dpo", chosen, 0, reference=(0, 0), row=row, dpo_loss="hinge") == pytest.approx(expected, abs=1e-6)


def test_dpo_rewards_are_beta_times_the_log_ratio() -> None:
    logged = score_pair("dpo", -5, -9, reference=(-10, -7), beta=0.5).logged
    expected = {"rewards/chosen": 2.5, "rewards/rejected": -1, "rewards/margins": 3.5, "rewards/accuracies": 1}
    assert {name: logged[name].item() for name in expected} == pytest.approx(expected)
    assert (logged["logps/chosen"].item(), logged["logps/rejected"].item()) == (-5, -9)


# IPO


@pytest.mark.parametrize("average", ["mean", "sum"])
def test_ipo_of_equal_policies(average: str) -> None:
    # (0 − 1/(2 · 0.1))² = 25
    assert loss_of("ipo", -8, -4, reference=(-8, -4), ipo_average=average) == pytest.approx(25, abs=1e-4)


def test_ipo_divides_by_tokens_or_not() -> None:
    # ratios 12 over 3 tokens and −2 over 2: mean h = 4 + 1 = 5, on target; sum h = 14: (14 − 5)² = 81
    ratios = {"reference": (0, 0), "lengths": (3, 2)}
    assert loss_of("ipo", 12, -2, **ratios) == pytest.approx(0, abs=1e-6)
    assert loss_of("ipo", 12, -2, **ratios, ipo_average="sum") == pytest.approx(81, abs=1e-4)


def test_ipo_margin_and_soft_label() -> None:
    # τ = (0.5 + 1) / 0.1 = 15: at equality 225
    assert loss_of("ipo", 0, 0, reference=(0, 0), row={"margin": 1}) == pytest.approx(225, abs=1e-3)
    # h = 10/2 = 5, q = 0.75: 0.75 · 0 + 0.25 · (5 + 5)² = 25
    assert loss_of("ipo", 10, 0, reference=(0, 0), row={"soft_label": 0.75}) == pytest.approx(25, abs=1e-4)


# KTO


def score_kto(scores: list[float], rows: list[Any], kl: float = 0.0, **settings: Any) -> Terms:
    """Against a reference of zeros; ``scores`` by reply, then by row."""
    batch = collate(rows, Arrangement(pad_id=0), reference_logps=[[0.0, 0.0]] * len(rows))
    batch.kl = torch.tensor(kl)
    method = make_method(TrainingConfig.from_dict("kto", settings))
    return method.compute_terms(tensor(*scores, *[0.0] * len(rows)), batch)


def test_kto_of_equal_policies_is_half_for_each_reply() -> None:
    # 1 − σ(0) = 0.5, twice for a pair
    assert score_kto([0, 0], [make_row()]).row_loss.item() == pytest.approx(1.0)
    assert score_kto([0], [make_row(2, 0)]).row_loss.item() == pytest.approx(0.5)
    assert score_kto([0], [make_row(2, 0, labels=(False,))]).row_loss.item() == pytest.approx(0.5)


def test_kto_of_pairs_and_single_replies_mixed() -> None:
    # β = 0.1, z₀ = 5, r = 15, −5 (pair), 5 (unwanted), 25 (wanted), λ_D = 2, λ_U = 3
    # pair: 2 · (1 − σ(1)) + 3 · (1 − σ(1)) = 5 · 0.268941 = 1.344707
    # unwanted: 3 · (1 − σ(0)) = 1.5; wanted: 2 · (1 − σ(2)) = 2 · 0.119203 = 0.238406
    rows = [make_row(), make_row(2, 0, labels=(False,)), make_row(2, 0)]
    terms = score_kto([15, 5, 25, -5], rows, kl=5.0, desirable_weight=2, undesirable_weight=3)
    assert terms.row_loss.tolist() == pytest.approx([1.344707, 1.5, 0.238406], abs=1e-6)
    method = make_method(TrainingConfig.from_dict("kto", {}))
    assert [method.count_units(row) for row in rows] == [2, 1, 1]
    nan = math.nan  # where a row has no such side
    logged = {name: values.tolist() for name, values in terms.logged.items()}
    assert logged["rewards/chosen"] == pytest.approx([1.5, nan, 2.5], nan_ok=True)
    assert logged["rewards/rejected"] == pytest.approx([-0.5, 0.5, nan], nan_ok=True)
    assert logged["rewards/margins"] == pytest.approx([2.0, nan, nan], nan_ok=True)
    assert logged["rewards/accuracies"] == pytest.approx([1.0, nan, nan], nan_ok=True)
    assert logged["kl"] == [5, 5, 5]


def test_kto_margin_asks_each_side_for_half() -> None:
    # r = 10 and −10 at β = 0.1, m = 2: 1 − σ(1 − 1) = 0.5 on both sides
    assert score_kto([10, -10], [make_row(margin=2.0)]).row_loss.item() == pytest.approx(1.0, abs=1e-6)


def test_kto_needs_its_kl() -> None:
    batch = collate([make_row()], Arrangement(pad_id=0), reference_logps=[[0.0, 0.0]])
    with pytest.raises(ValueError, match="KL"):
        make_method(TrainingConfig.from_dict("kto", {})).compute_terms(tensor(0, 0, 0), batch)


# ORPO


def test_orpo() -> None:
    # P = 1/2 and 1/4 a token have odds 1 and 1/3, z = log 3: −0.1 · log σ(log 3) = 0.1 · log(4/3) = 0.0287682
    terms = score_pair("orpo", 2 * math.log(1 / 2), 2 * math.log(1 / 4), prompt=-3)
    assert terms.row_loss.item() == pytest.approx(0.0287682, abs=1e-6)
    assert terms.token_loss is not None and terms.token_loss.item() == pytest.approx(2 * LN2 + 3, abs=1e-5)
    assert terms.logged["log_odds_chosen"].item() == pytest.approx(math.log(3), abs=1e-6)
    assert terms.logged["log_odds_ratio"].item() == pytest.approx(math.log(3 / 4), abs=1e-6)


def test_orpo_margin() -> None:
    # z − m = log 3 − log 3: −0.1 · log σ(0)
    terms = score_pair("orpo", 2 * math.log(1 / 2), 2 * math.log(1 / 4), row={"margin": math.log(3)})
    assert terms.row_loss.item() == pytest.approx(0.1 * LN2, abs=1e-6)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (-1e-6, math.log(1e-6)),  # 1 − e^x ≈ −x
        (-math.log(2), -LN2),
        (-10, -4.5400961e-05),  # log(1 − u) ≈ −u − u²/2, u = e^−10 = 4.5399930e-5
        (-80, 0.0),  # u = e^−80 is far below fp32's resolution of 1
    ],
)
def test_log1mexp_at_both_ends(x: float, expected: float) -> None:
    assert log1mexp(tensor(x)).item() == pytest.approx(expected, rel=1e-6, abs=1e-30)


def test_log_odds_ratio_of_certainties_is_finite() -> None:
    # 1 − P is held above 1e-7, so the odds of a certainty count as 10⁷; against even odds: log 10⁷ = 16.118
    assert log_odds_ratio(tensor(0), tensor(-math.log(2))).item() == pytest.approx(16.118, abs=1e-3)
    assert log_odds_ratio(tensor(0), tensor(0)).item() == 0


# CPO, SimPO, ARPO, SFT


def test_cpo() -> None:
    # z = 0.1 · (−10 + 20) = 1; NLL of the chosen reply 10
    terms = score_pair("cpo", -10, -20)
    assert terms.row_loss.item() == pytest.approx(0.313262, abs=1e-6)
    assert terms.token_loss is not None and terms.token_loss.item() == 10
    # without a reference the reward is β times the log-probability
    rewards = [terms.logged[f"rewards/{name}"].item() for name in ("chosen", "rejected", "margins", "accuracies")]
    assert rewards == pytest.approx([-1, -2, 1, 1])
    assert score_pair("cpo", -10, -20, nll_weight=0).token_loss is None
    # ε = 0.1 as for DPO
    assert loss_of("cpo", -10, -20, label_smoothing=0.1) == pytest.approx(0.413262, abs=1e-6)


def test_simpo() -> None:
    # β = 2, γ = 0.5 · 2 = 1; means −3/3 and −4/2: z = 2 · (−1 + 2) − 1 = 1
    terms = score_pair("simpo", -3, -4, lengths=(3, 2))
    assert terms.row_loss.item() == pytest.approx(0.313262, abs=1e-6)
    assert terms.token_loss is None
    assert loss_of("simpo", -3, -4, lengths=(3, 2), row={"margin": 1}) == pytest.approx(LN2, abs=1e-6)
    with_nll = score_pair("simpo", -3, -4, lengths=(3, 2), nll_weight=0.5)
    assert with_nll.token_loss is not None and with_nll.token_loss.item() == 3


@pytest.mark.parametrize(
    ("gap", "c1", "expected"),
    [
        (0.0, 0.9, -0.1),  # 0.9 · 1 − 1
        (0.263401, 0.9, 0.0),  # ln(1/0.9) / 0.4
        (1.0, 0.9, 0.342642),  # 0.9 · e^0.4 − 1
        (2.0, 0.9, 1.0),  # 0.9 · e^0.8 − 1 = 1.003, held at 1
        (1e4, 0.9, 1.0),  # e^4000 would overflow
        (0.0, 1.0, 0.0),  # the paper's form
        (0.5, 1.0, 0.221403),  # e^0.2 − 1
    ],
)
def test_arpo_penalty(gap: float, c1: float, expected: float) -> None:
    for chosen, rejected in ((-1.0, -1.0 - gap), (-1.0 - gap, -1.0)):  # whichever is likelier
        assert adaptive_penalty(tensor(chosen), tensor(rejected), c1, 0.4).item() == pytest.approx(expected, abs=1e-5)


def test_arpo() -> None:
    # equal sides: p = −0.1, z = 0.1 · (−2 − 0.1 · 2) = −0.22: log(1 + e^0.22) = 0.809185
    assert loss_of("arpo", -2, -2) == pytest.approx(0.809185, abs=1e-6)
    # the paper's p = 0: z = −0.2: log(1 + e^0.2) = 0.798139
    assert loss_of("arpo", -2, -2, arpo_form="paper") == pytest.approx(0.798139, abs=1e-6)
    # a gap of 5 nats a token: p = 1, CPO's z = 0.1 · (−10 + 20) = 1
    terms = score_pair("arpo", -10, -20)
    assert terms.row_loss.item() == pytest.approx(0.313262, abs=1e-6)
    assert terms.token_loss is not None and terms.token_loss.item() == 10
    assert terms.logged["penalty"].item() == 1


def test_arpo_gradient_flows_through_the_penalty() -> None:
    # W = −1, L = −1.5: p = 0.9 · e^0.2 − 1 = 0.099262, dp/dw = 0.4 · (p + 1) / 2 tokens = 0.219852
    # z = 0.1 · (−2 + 3p) = −0.170221, dz/dw = 0.1 · (1 + 3 · 0.219852) = 0.165956
    # dz/dl = 0.1 · (−p + 3 · (−0.219852)) = −0.075882;  dL/dz = −σ(0.170221) = −0.542453
    scores = tensor(-2, -3, 0).requires_grad_()
    batch = collate([make_row()], Arrangement(pad_id=0))
    terms = make_method(TrainingConfig.from_dict("arpo", {})).compute_terms(scores, batch)
    (gradient,) = torch.autograd.grad(terms.row_loss.sum(), scores)
    assert gradient.tolist() == pytest.approx([-0.090023, 0.041162, 0], abs=1e-6)


def test_sft() -> None:
    # in training the rejected reply is not laid out, in evaluation it is looked at
    method = make_method(TrainingConfig.from_dict("sft", {}))
    row = make_row(3, 2)
    batch = collate([row], Arrangement(pad_id=0, sides=method.sides))
    assert len(batch.side_rows) == 1
    training = method.compute_terms(tensor(-6, 0), batch)
    assert training.row_loss.item() == 0
    assert training.token_loss is not None and training.token_loss.item() == 6
    assert training.logged["logps/chosen"].item() == -2
    held_out = method.compute_terms(tensor(-6, -8, 0), collate([row], Arrangement(pad_id=0)))
    assert held_out.token_loss is not None and held_out.token_loss.item() == 6
    logged = {"logps/chosen": -2, "logps/rejected": -4, "rewards/margins": 2, "rewards/accuracies": 1}
    assert {name: held_out.logged[name].item() for name in logged} == logged


def test_sft_of_pairs_and_single_replies_mixed_compares_the_pairs_alone() -> None:
    method = make_method(TrainingConfig.from_dict("sft", {}))
    batch = collate([make_row(2, 0), make_row(2, 2)], Arrangement(pad_id=0))
    terms = method.compute_terms(tensor(-6, -2, -8, 0, 0), batch)
    assert terms.token_loss is not None and terms.token_loss.tolist() == [6, 2]
    nan = math.nan
    expected = {
        "logps/chosen": [-3, -1],
        "logps/rejected": [nan, -4],
        "rewards/chosen": [nan, -1],
        "rewards/rejected": [nan, -4],
        "rewards/margins": [nan, 3],
        "rewards/accuracies": [nan, 1],
    }
    assert terms.logged.keys() == expected.keys()
    for name, values in expected.items():
        assert terms.logged[name].tolist() == pytest.approx(values, nan_ok=True)


# What they share


def test_shapes_that_would_mix_pairs_are_refused() -> None:
    batch: Batch = collate([make_row(), make_row(), make_row()], Arrangement(pad_id=0))
    with pytest.raises(ValueError, match="shapes"):
        logistic_loss(torch.zeros(3, 1), batch)
    for count in (3, 5, 8):
        with pytest.raises(ValueError, match="do not make 3 pairs"):
            make_method(TrainingConfig.from_dict("reward", {})).compute_terms(torch.zeros(count), batch)


@pytest.mark.parametrize("method", ["dpo", "ipo"])
def test_a_missing_reference_is_refused(method: str) -> None:
    with pytest.raises(ValueError, match="reference"):
        loss_of(method, 0, 0)
