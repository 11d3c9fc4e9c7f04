"""The head's own backward pass against PyTorch's cross entropy: values, gradients, chunks and extremes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.tiny_models import make_tiny_architecture
from tests.training.engine.runs import repeatable
from training.engine import head as heads
from training.engine.head import score_targets

WIDTH = 24
Case = tuple[nn.Linear, Tensor, Tensor, Tensor]


def make_case(count: int, vocabulary: int, *, scale: float = 1.0, seed: int = 0, bias: bool = False) -> Case:
    """A head, hidden states, targets and the gradient that comes from behind."""
    generator = torch.Generator().manual_seed(seed)
    head = nn.Linear(WIDTH, vocabulary, bias=bias)
    for weight in head.parameters():
        weight.data = torch.randn(weight.shape, generator=generator)
    hidden = scale * torch.randn(count, WIDTH, generator=generator)
    targets = torch.randint(0, vocabulary, (count,), generator=generator)
    return head, hidden, targets, torch.randn(count, generator=generator)


def score_plainly(head: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    return -F.cross_entropy(head(hidden).float(), targets, reduction="none")


def differentiate(way: Callable[..., Tensor], case: Case, *, bf16: bool = False) -> dict[str, Tensor]:
    """The log-probabilities, and their gradients towards hidden states and weights."""
    head, hidden, targets, upstream = case
    head.zero_grad()
    hidden = hidden.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logps = way(head, hidden, targets)
    logps.backward(upstream)  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    gradients = {name: weight.grad.clone() for name, weight in head.named_parameters() if weight.grad is not None}
    return {"logps": logps.detach(), "hidden": hidden.grad, **gradients}


def uses_its_own_way(head: Any, hidden: Tensor) -> bool:
    return heads._is_one_matrix(head, hidden)


@given(
    count=st.integers(0, 9) | st.sampled_from([255, 256, 257, 600]),
    vocabulary=st.integers(2, 40) | st.sampled_from([2047, 2048, 2049, 5000]),
    scale=st.sampled_from([0.01, 1.0, 10.0]),
    seed=st.integers(0, 3),
)
@repeatable
def test_values_and_gradients_in_fp32(count: int, vocabulary: int, scale: float, seed: int) -> None:
    """Numbers of rows and columns around the size of a tile."""
    case = make_case(count, vocabulary, scale=scale, seed=seed)
    assert uses_its_own_way(case[0], case[1])
    found = differentiate(score_targets, case)
    for name, exact in differentiate(score_plainly, case).items():
        largest = max([1.0, *exact.abs().flatten().tolist()])  # sums of 600 terms round by their size
        torch.testing.assert_close(found[name], exact, rtol=1e-5, atol=1e-5 * largest)


def measure_error(found: dict[str, Tensor], exact: dict[str, Tensor]) -> dict[str, float]:
    """Norm of the difference by tensor, relative to the norm of the exact one."""
    return {name: float((found[name] - exact[name]).norm() / exact[name].norm()) for name in exact}


@pytest.mark.parametrize("scale", [0.05, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("vocabulary", [100, 5000])
def test_bf16_is_no_worse_than_cross_entropy_under_autocast(vocabulary: int, scale: float) -> None:
    case = make_case(300, vocabulary, scale=scale)
    exact = differentiate(score_plainly, case)
    ours = differentiate(score_targets, case, bf16=True)
    assert ours["logps"].dtype == torch.float32
    assert ours["hidden"].dtype == ours["weight"].dtype == torch.float32
    theirs = measure_error(differentiate(score_plainly, case, bf16=True), exact)
    for name, error in measure_error(ours, exact).items():
        assert 0 < error <= 1.1 * theirs[name], name


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_chunks_change_nothing(rows: int, bf16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case(65, 50)
    whole = differentiate(score_targets, case, bf16=bf16)
    passes: list[int] = []
    monkeypatch.setattr(heads, "HEAD_CHUNK", rows * 50)
    monkeypatch.setattr(heads, "_score_by_product", _count_rows(heads._score_by_product, passes))
    tolerance = 2e-2 if bf16 else 1e-5
    torch.testing.assert_close(
        differentiate(score_targets, case, bf16=bf16), whole, rtol=tolerance, atol=10 * tolerance
    )
    forward = passes[: -(-65 // rows)]
    assert max(passes) <= rows and sum(forward) == 65
    assert sum(passes) == 2 * 65  # once, and once more for the gradient


def _count_rows(score: Callable[..., Tensor], passes: list[int]) -> Callable[..., Tensor]:
    def count(head: Any, hidden: Tensor, targets: Tensor) -> Tensor:
        passes.append(len(hidden))
        return score(head, hidden, targets)

    return count


@pytest.mark.parametrize("bf16", [False, True])
def test_chunks_under_autocast_are_computed_again_in_the_same_arithmetic(
    bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case(9, 50)
    seen = []

    def watch(head: Any, hidden: Tensor, targets: Tensor) -> Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return score_plainly(head, hidden, targets)

    monkeypatch.setattr(heads, "HEAD_CHUNK", 3 * 50)
    monkeypatch.setattr(heads, "_score_by_product", watch)
    differentiate(score_targets, case, bf16=bf16)
    assert seen == [bf16] * 6


@pytest.mark.parametrize("bf16", [False, True])
def test_extreme_logits_stay_finite(bf16: bool) -> None:
    """A token of probability one and tokens that are impossible, 10,000 nats apart, also across tiles."""
    head = nn.Linear(1, 5000, bias=False)
    head.weight.data = torch.linspace(-1, 1, 5000)[:, None]
    hidden = torch.tensor([[1e4], [1e4], [-1e4], [-1e4], [0.0]])
    targets = torch.tensor([4999, 0, 0, 4999, 17])
    case = head, hidden, targets, torch.ones(5)
    found, expected = differentiate(score_targets, case, bf16=bf16), differentiate(score_plainly, case)
    assert all(torch.isfinite(values).all() for values in found.values())
    assert found["logps"][1].item() == pytest.approx(-2e4, rel=1e-2)
    assert found["logps"][4].item() == pytest.approx(-torch.tensor(5000.0).log().item(), rel=1e-4)
    if not bf16:
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-2)


def test_a_frozen_head_or_constant_states_get_no_gradient() -> None:
    head, hidden, targets, upstream = make_case(6, 30)
    head.weight.requires_grad_(False)  # as with LoRA adapters below it
    leaf = hidden.clone().requires_grad_()
    score_targets(head, leaf, targets).backward(upstream)  # type: ignore[no-untyped-call]
    assert all(weight.grad is None for weight in head.parameters())
    expected = hidden.clone().requires_grad_()
    score_plainly(head, expected, targets).backward(upstream)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(leaf.grad, expected.grad)

    head.weight.requires_grad_(True)
    (slope,) = torch.autograd.grad(score_targets(head, hidden, targets), head.weight, upstream)
    assert slope.norm() > 0
    with torch.no_grad():
        assert not score_targets(head, hidden, targets).requires_grad


def test_the_derivative_is_that_of_the_function() -> None:
    """By finite differences, in double precision."""
    head, hidden, targets, _upstream = make_case(3, 7)
    head = head.double()

    def score(states: Tensor, weight: Tensor) -> Tensor:
        logps: Tensor = heads._TargetLogps.apply(states, weight, targets)  # type: ignore[no-untyped-call]
        return logps

    leaves = [hidden.double().requires_grad_(), head.weight]
    gradients = torch.autograd.grad(score(*leaves).sum(), leaves)
    generator = torch.Generator().manual_seed(1)
    for number, gradient in enumerate(gradients):
        direction = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
        ahead, behind = (
            sum(score(*_move(leaves, number, step * direction)).double().tolist()) for step in (1e-2, -1e-2)
        )
        assert (ahead - behind) / 2e-2 == pytest.approx(float((gradient * direction).sum()), rel=1e-3)


def _move(leaves: Sequence[Tensor], number: int, step: Tensor) -> list[Tensor]:
    return [leaf.detach() + step if index == number else leaf.detach() for index, leaf in enumerate(leaves)]


@pytest.mark.parametrize("architecture", ["qwen2", "gpt2"])
def test_tied_embeddings_collect_the_gradient_of_both_uses(architecture: str) -> None:
    model = make_tiny_architecture(architecture)
    head = model.get_output_embeddings()
    assert head.weight is model.get_input_embeddings().weight and uses_its_own_way(head, torch.zeros(1, 1))
    ids = torch.arange(3, 15)[None]
    outcomes = []
    for way in (score_plainly, score_targets):
        model.zero_grad()
        hidden = model.base_model(ids).last_hidden_state[0, :-1]
        way(head, hidden, ids[0, 1:]).sum().backward()  # type: ignore[no-untyped-call]
        outcomes.append({name: weight.grad.clone() for name, weight in model.named_parameters()})
    torch.testing.assert_close(outcomes[1], outcomes[0], rtol=1e-4, atol=1e-4)


def test_heads_of_more_than_one_matrix_are_left_to_pytorch() -> None:
    case = make_case(6, 30, bias=True)
    assert not uses_its_own_way(case[0], case[1])
    torch.testing.assert_close(
        differentiate(score_targets, case), differentiate(score_plainly, case), rtol=1e-6, atol=1e-6
    )

    class Scaled(nn.Linear):
        def forward(self, hidden: Tensor) -> Tensor:
            return 3 * super().forward(hidden)

    scaled = Scaled(WIDTH, 30, bias=False)
    assert not uses_its_own_way(scaled, case[1])
    found = differentiate(score_targets, (scaled, *case[1:]))
    torch.testing.assert_close(found, differentiate(score_plainly, (scaled, *case[1:])), rtol=1e-6, atol=1e-6)
