"""The learning rate by hand, which weights decay, and the optimizer's state put back exactly."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.training.engine.runs import repeatable
from training.engine.config import TrainingConfig
from training.engine.optimizer import (
    learning_rate_at,
    list_trainable,
    make_optimizer,
    read_optimizer,
    restore_optimizer,
    restore_weights,
)

SCHEDULES = ("cosine", "linear", "constant", "inverse square root")


def rates(total: int, **values: Any) -> list[float]:
    config = TrainingConfig.from_dict("dpo", {"learning_rate": 1.0, **values})
    return [learning_rate_at(step, total, config) for step in range(total)]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # two warm-up steps at 1/3 and 2/3, then the peak; progress after step s is (s − 2)/8
        ("constant", {2: 1, 6: 1, 9: 1}),
        ("linear", {2: 1, 6: 0.5, 9: 0.125}),
        # 0.1 + 0.9 · ½(1 + cos(π·progress)): at ½ 0.55, at 7/8 0.1 + 0.45 · (1 − 0.923880) = 0.134254
        ("cosine", {2: 1, 6: 0.55, 9: 0.134254}),
        # √(3/(s + 1)): √(3/7) = 0.654654, √(3/10) = 0.547723
        ("inverse square root", {2: 1, 6: 0.654654, 9: 0.547723}),
    ],
)
def test_schedule_by_hand(schedule: str, expected: dict[int, float]) -> None:
    values = rates(10, schedule=schedule, warmup_ratio=0.2)
    assert values[:2] == pytest.approx([1 / 3, 2 / 3])
    assert {step: values[step] for step in expected} == pytest.approx(expected, abs=1e-6)


def test_cosine_ends_at_a_tenth_and_linear_at_zero() -> None:
    assert rates(100_000, schedule="cosine", warmup_ratio=0)[-1] == pytest.approx(0.1, abs=1e-6)
    assert rates(100_000, schedule="linear", warmup_ratio=0)[-1] == pytest.approx(0, abs=2e-5)


@pytest.mark.parametrize(
    ("ratio", "least", "total", "steps"),
    [
        (0.05, 0, 10, 1),  # half a step counts as one
        (0.05, 0, 200, 10),
        (0.05, 5, 10, 5),  # Llama 2: 3 % of the steps, at least 5
        (0.05, 5, 200, 10),
        (0, 0, 10, 0),
        (0, 50, 10, 10),  # no more than there are
    ],
)
def test_warm_up_is_a_share_with_a_least_number_of_steps(ratio: float, least: int, total: int, steps: int) -> None:
    values = rates(total, schedule="constant", warmup_ratio=ratio, warmup_steps=least)
    assert sum(value < 1 for value in values) == steps
    assert values[:steps] == pytest.approx([(step + 1) / (steps + 1) for step in range(steps)])


@given(
    schedule=st.sampled_from(SCHEDULES),
    total=st.integers(1, 60),
    ratio=st.floats(0, 0.9),
    least=st.integers(0, 80),
)
@repeatable
def test_rate_rises_to_the_peak_and_falls_from_there(schedule: str, total: int, ratio: float, least: int) -> None:
    values = rates(total, schedule=schedule, warmup_ratio=ratio, warmup_steps=least)
    assert all(0 < value <= 1 for value in values)
    top = values.index(max(values))
    assert values[: top + 1] == sorted(values[: top + 1])
    assert values[top:] == sorted(values[top:], reverse=True)
    assert top == total - 1 or values[top] == 1  # the setting is the peak, unless warm-up takes the whole run


class Tied(nn.Module):
    """An embedding that is its own head, a layer with bias, a norm, and a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.layer = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.norm(self.frozen(self.layer(self.embedding(ids)))))
        return logits


def make_tied() -> Tied:
    torch.manual_seed(0)
    return Tied()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _step in range(steps):
        ids = torch.randint(0, 7, (5,), generator=generator)
        nn.functional.cross_entropy(model(ids), ids.flip(0)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()


def test_only_matrices_decay_and_tied_or_frozen_weights_are_not_listed_again() -> None:
    model = make_tied()
    assert list(list_trainable(model)) == ["embedding.weight", "layer.weight", "layer.bias", "norm.weight", "norm.bias"]
    optimizer = make_optimizer(model, TrainingConfig.from_dict("dpo", {"weight_decay": 0.5, "learning_rate": 0.1}))
    decays = {id(weight): group["weight_decay"] for group in optimizer.param_groups for weight in group["params"]}
    by_name = {name: decays.pop(id(weight)) for name, weight in list_trainable(model).items()}
    assert by_name == {
        "embedding.weight": 0.5, "layer.weight": 0.5, "layer.bias": 0, "norm.weight": 0, "norm.bias": 0,
    }  # fmt: skip
    assert not decays


def test_decay_shrinks_a_matrix_without_gradient_by_rate_times_decay() -> None:
    model = make_tied()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = make_optimizer(model, TrainingConfig.from_dict("dpo", {"weight_decay": 0.5, "learning_rate": 0.1}))
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    torch.testing.assert_close(model.layer.weight.detach(), 0.95 * before["layer.weight"])  # 1 − 0.1 · 0.5
    torch.testing.assert_close(model.layer.bias.detach(), before["layer.bias"])


def test_state_that_was_read_and_put_back_goes_on_bit_by_bit() -> None:
    config = TrainingConfig.from_dict("dpo", {"weight_decay": 0.1, "learning_rate": 0.05})
    model = make_tied()
    optimizer = make_optimizer(model, config)
    train(model, optimizer, 3, seed=1)
    state = {name: value.clone() for name, value in read_optimizer(optimizer, model).items()}
    weights = {name: value.detach().clone() for name, value in list_trainable(model).items()}
    assert {name.partition("/")[0] for name in state} == {"step", "exp_avg", "exp_avg_sq"}
    assert len(state) == 3 * len(weights)

    other = make_tied()
    other_optimizer = make_optimizer(other, config)
    restore_weights(other, weights)
    restore_optimizer(other_optimizer, other, copy.deepcopy(state))
    for each, its_optimizer in ((model, optimizer), (other, other_optimizer)):
        train(each, its_optimizer, 3, seed=2)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name]), name


def test_weights_with_other_names_are_refused() -> None:
    model = make_tied()
    weights = {name: value.detach() for name, value in list_trainable(model).items()}
    weights["other"] = weights.pop("layer.bias")
    with pytest.raises(KeyError, match="2 weights differ in name"):
        restore_weights(model, weights)
