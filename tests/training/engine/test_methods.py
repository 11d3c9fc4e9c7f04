"""Properties that the losses must have for any scores, and that the loss of a step does not depend on how it is cut."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models_registry.inference.load import load_tokenizer
from models_registry.inference.program import Program
from tests.training.engine.runs import make_record, make_row, make_run, make_separable_records, make_single, repeatable
from training.engine.batches import Arrangement, Batch, collate
from training.engine.config import METHODS, TrainingConfig
from training.engine.data import Row, encode_row, parse_record
from training.engine.loop import average_terms
from training.engine.methods import make_method
from training.engine.methods.base import Method, Terms
from training.engine.run import main

CASES: dict[str, dict[str, Any]] = {
    "reward": {},
    "reward centred": {"center_rewards": 0.01},
    "dpo": {},
    "dpo smoothed": {"label_smoothing": 0.2},
    "dpo robust": {"dpo_loss": "robust", "label_smoothing": 0.2},
    "dpo hinge": {"dpo_loss": "hinge"},
    "ipo mean": {"ipo_average": "mean"},
    "ipo sum": {"ipo_average": "sum"},
    "kto": {"desirable_weight": 1.5},
    "orpo": {},
    "orpo chosen": {"nll_over": "chosen"},
    "cpo": {},
    "cpo smoothed": {"label_smoothing": 0.1},
    "simpo": {"gamma_ratio": 0.0},
    "simpo target": {"nll_weight": 1.0},
    "arpo code": {},
    "arpo paper": {"arpo_form": "paper"},
    "sft": {},
}
"""By method name and variant."""
LOGISTIC = ("reward", "dpo", "dpo smoothed", "cpo", "cpo smoothed", "simpo", "orpo")
"""Losses −log σ(z − m) of a gap z that only changes its sign when the sides are swapped."""
SYMMETRIC = (*LOGISTIC, "reward centred", "dpo robust", "dpo hinge", "ipo mean", "ipo sum")
BY_GAP = (*set(SYMMETRIC) - {"orpo", "reward centred"}, "simpo target")
MONOTONE = ("reward", "dpo", "dpo robust", "dpo hinge", "cpo", "simpo", "simpo target", "orpo")
"""Losses of sure labels that fall as long as the gap grows."""
TOKENS = 4
"""Length of replies, where it does not matter."""
REFERENCE = -10.0

logps = st.floats(-200, -0.0625, width=32)
margins = st.floats(-3, 3, width=32)
labels = st.floats(0, 1, width=32)


def tensor(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def make_case(name: str) -> Method:
    return make_method(TrainingConfig.from_dict(name.split()[0], CASES[name]))


def make_batch(method: Method, rows: Sequence[Row], present: Sequence[float] | None = None) -> Batch:
    """Rows as the loop lays them out, against a reference of -10 a reply and a KL divergence of 0.5."""
    arrangement = Arrangement(pad_id=0, sides=method.sides, with_prompt=method.reads_prompt)
    reference = [[REFERENCE] * len(row.replies) for row in rows]
    batch = collate(rows, arrangement, present=present, reference_logps=reference)
    batch.kl = torch.tensor(0.5)
    return batch


def compute(method: Method, batch: Batch, scores: Tensor) -> Terms:
    """``scores`` [S] are those of the replies; the prompts have -3 each."""
    prompts = scores.new_full((0 if method.trains_reward_model else len(batch.margins),), -3.0)
    return method.compute_terms(torch.cat([scores, prompts]), batch)


def loss_of(name: str, chosen: float, rejected: float, **fields: Any) -> float:
    """What one pair adds by row (not by token)."""
    method = make_case(name)
    batch = make_batch(method, [make_row(TOKENS, TOKENS, **fields)])
    return compute(method, batch, tensor([chosen, rejected])).row_loss.item()


@pytest.mark.parametrize("name", sorted(BY_GAP))
@given(chosen=logps, rejected=logps, shift=st.floats(-50, 50, width=32), margin=margins, label=labels)
@repeatable
def test_only_the_gap_counts(
    name: str, chosen: float, rejected: float, shift: float, margin: float, label: float
) -> None:
    """Replies of one length may both grow likelier by the same."""
    here = loss_of(name, chosen, rejected, margin=margin, soft_label=label)
    there = loss_of(name, chosen + shift, rejected + shift, margin=margin, soft_label=label)
    assert there == pytest.approx(here, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("name", SYMMETRIC)
@given(chosen=logps, rejected=logps, margin=margins, label=labels)
@repeatable
def test_swapped_sides_are_the_same_pair_with_the_other_label(
    name: str, chosen: float, rejected: float, margin: float, label: float
) -> None:
    here = loss_of(name, chosen, rejected, margin=margin, soft_label=label)
    there = loss_of(name, rejected, chosen, margin=-margin, soft_label=1 - label)
    assert there == pytest.approx(here, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", MONOTONE)
@given(chosen=logps, rejected=logps, step=st.floats(0.0625, 5, width=32), margin=margins)
@repeatable
def test_loss_falls_with_the_gap_and_grows_with_the_margin(
    name: str, chosen: float, rejected: float, step: float, margin: float
) -> None:
    here = loss_of(name, chosen - step, rejected, margin=margin)
    rounding = 1e-5 * (1 + abs(here))
    assert loss_of(name, chosen, rejected, margin=margin) <= here + rounding
    assert loss_of(name, chosen - step, rejected - step / 2, margin=margin) <= here + rounding
    assert loss_of(name, chosen - step, rejected, margin=margin + step) >= here - rounding


@pytest.mark.parametrize("name", ["reward", "dpo", "dpo hinge", "cpo", "simpo", "simpo target", "orpo"])
def test_a_pair_that_is_won_clearly_costs_nothing_and_one_that_is_lost_costs_its_gap(name: str) -> None:
    assert 0 <= loss_of(name, -0.01, -1e4) < 1e-6
    cost = [loss_of(name, -1000.0 * factor, -0.01) for factor in (1, 2, 3)]
    assert cost[0] > 5
    assert cost[2] - cost[1] == pytest.approx(cost[1] - cost[0], rel=1e-3)  # linear, so one outlier does not rule


@pytest.mark.parametrize("name", LOGISTIC)
@given(label=st.floats(0.0625, 0.9375, width=32), margin=margins)
@repeatable
def test_minimum_is_where_the_probability_beyond_the_margin_equals_the_label(
    name: str, label: float, margin: float
) -> None:
    smoothing = CASES[name].get("label_smoothing", 0.0)
    right = label * (1 - smoothing) + (1 - label) * smoothing
    best = margin + math.log(right / (1 - right))
    method = make_case(name)
    batch = make_batch(method, [make_row(TOKENS, TOKENS, margin=margin, soft_label=label)])

    def slope(z: float) -> float:
        chosen = tensor([_reach(name, z)]).requires_grad_()
        loss = compute(method, batch, torch.cat([chosen, tensor([-100.0])])).row_loss.sum()
        return float(torch.autograd.grad(loss, chosen)[0])

    assert slope(best - 0.25) < 0 < slope(best + 0.25)
    assert abs(slope(best)) < 0.05 * max(slope(best + 0.25), -slope(best - 0.25))


def _reach(name: str, z: float) -> float:
    """The chosen side's score that makes a gap of ``z`` over a rejected side of -100."""
    config = TrainingConfig.from_dict(name.split()[0], CASES[name])
    if config.method == "reward":
        return z - 100
    if config.method == "simpo":
        return TOKENS * z / config.beta - 100
    if config.method == "orpo":  # log odds are -100/4 (the odds of a small P are P)
        return -TOKENS * math.log1p(math.exp(100 / TOKENS - z))
    return z / config.beta - 100


@given(label=labels, margin=st.floats(0, 3, width=32), average=st.sampled_from(["mean", "sum"]))
@repeatable
def test_minimum_of_ipo_is_its_target_as_far_as_the_label_is_sure(label: float, margin: float, average: str) -> None:
    # with e = h − m/β: d/de [q(e − τ)² + (1 − q)(e + τ)²] = 0 at e = (2q − 1)·τ, τ = 1/(2β)
    target = (margin + (2 * label - 1) * 0.5) / 0.1 * (TOKENS if average == "mean" else 1)
    scores = tensor([target - 100, -100]).requires_grad_()
    method = make_case(f"ipo {average}")
    batch = make_batch(method, [make_row(TOKENS, TOKENS, margin=margin, soft_label=label)])
    (gradient,) = torch.autograd.grad(compute(method, batch, scores).row_loss.sum(), scores)
    assert gradient.tolist() == pytest.approx([0, 0], abs=2e-3)


@given(gain=st.floats(-100, 100, width=32))
@repeatable
def test_kto_treats_a_wanted_gain_like_an_unwanted_loss(gain: float) -> None:
    method = make_method(TrainingConfig.from_dict("kto", {}))
    center = REFERENCE + 0.5  # where log π − log π_ref is the KL divergence
    sides = [make_row(TOKENS, 0), make_row(TOKENS, 0, labels=(False,))]
    wanted, unwanted = compute(method, make_batch(method, sides), tensor([center + gain, center - gain])).row_loss
    assert 0 <= wanted.item() <= 1
    assert wanted.item() == pytest.approx(unwanted.item(), abs=1e-5)


extremes = st.sampled_from([-1e4, -100.0, -1e-4, -1e-9, 0.0])


@pytest.mark.parametrize("name", CASES)
@given(
    chosen=extremes, rejected=extremes, margin=st.sampled_from([-100.0, 0.0, 100.0]), label=st.sampled_from([0, 0.5, 1])
)
@repeatable
def test_loss_and_gradient_are_finite_at_the_extremes(
    name: str, chosen: float, rejected: float, margin: float, label: float
) -> None:
    method = make_case(name)
    batch = make_batch(method, [make_row(TOKENS, TOKENS, margin=margin, soft_label=label), make_row(1, 1)])
    sides = torch.tensor([chosen, -1.0, rejected, -1.0][: len(batch.side_rows)]).requires_grad_()
    terms = compute(method, batch, sides)
    loss = average_terms(terms, batch, units=2, tokens=6, token_weight=method.token_weight)
    (gradient,) = torch.autograd.grad(loss, sides)
    assert torch.isfinite(loss) and torch.isfinite(gradient).all()
    assert all(not values.isinf().any() for values in terms.logged.values())


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
@repeatable
def test_loss_of_a_step_is_the_sum_over_any_split_of_its_rows(name: str, data: st.DataObject) -> None:
    """So accumulation, a smaller batch with the same step and more processes give the same step."""
    method = make_case(name)
    lengths = st.integers(1, 6)
    singles = method.name in ("kto", "sft")
    rows = data.draw(
        st.lists(
            st.builds(
                make_row,
                lengths,
                st.integers(0, 6) if singles else lengths,
                prompt=lengths,
                weight=st.sampled_from([0.5, 1.0, 2.0]),
                margin=margins,
            ),
            min_size=1,
            max_size=6,
        )
    )
    scores = [data.draw(st.lists(logps, min_size=2, max_size=2)) for _row in rows]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows)))) | {0, len(rows)})
    units, tokens = sum(map(method.count_units, rows)), sum(map(method.count_tokens, rows))

    def loss(start: int, end: int) -> Tensor:
        """With a row that fills a process's empty share: it must not count."""
        part, present = [*rows[start:end], rows[0]], [1.0] * (end - start) + [0.0]
        batch = make_batch(method, part, present)
        own = [*scores[start:end], scores[0]]
        sides = tensor([own[row][reply] for row, reply in zip(batch.side_rows, batch.side_replies, strict=True)])
        return average_terms(compute(method, batch, sides), batch, units, tokens, method.token_weight)

    parts = [loss(start, end) for start, end in itertools.pairwise(cuts)]
    assert torch.stack(parts).sum().item() == pytest.approx(loss(0, len(rows)).item(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_what_is_logged_is_one_value_a_row_without_gradient(name: str) -> None:
    method = make_case(name)
    batch = make_batch(method, [make_row(), make_row(1, 3)])
    sides = torch.full((len(batch.side_rows),), -2.0, requires_grad=True)
    terms = compute(method, batch, sides)
    assert terms.row_loss.shape == (2,)
    for values in terms.logged.values():
        assert values.shape == (2,) and not values.requires_grad


def test_averages_count_units_and_tokens_of_the_whole_step_and_weigh_rows() -> None:
    # rows 1 and 3 with weights 0.5 and 1.5 over 4 rows: (0.5 + 4.5) / 4 = 1.25
    # tokens 10 and 20 over 50: 2 · (5 + 30) / 50 = 1.4
    batch = collate([make_row(weight=0.5), make_row(weight=1.5), make_row()], Arrangement(0), present=[1, 1, 0])
    terms = Terms(tensor([1, 3, 99]), {}, token_loss=tensor([10, 20, 99]))
    assert average_terms(terms, batch, 4, 50, 2.0).item() == pytest.approx(1.25 + 1.4)
    assert average_terms(terms, batch, 4, 0, 2.0).item() == pytest.approx(1.25)


@pytest.mark.parametrize("method", METHODS)
def test_a_pair_counts_once_but_for_kto_as_two_replies(method: str) -> None:
    made = make_method(TrainingConfig.from_dict(method, {}))
    assert made.count_units(make_row(4, 3)) == (2 if method == "kto" else 1)


@pytest.mark.parametrize("method", METHODS)
def test_tokens_are_those_whose_probability_is_asked_for(method: str) -> None:
    """What ``count_tokens`` divides by is what the batch sums over."""
    made = make_method(TrainingConfig.from_dict(method, {}))
    for prompt in (0, 1, 5):
        row = make_row(4, 3, prompt=prompt)
        batch = collate([row], Arrangement(0, sides=made.sides, with_prompt=made.reads_prompt))
        in_prompt = int((batch.segments == len(batch.side_rows)).sum())
        expected = int(batch.counts[0]) + in_prompt if method in ("sft", "orpo", "cpo", "arpo") else 0
        assert made.count_tokens(row) == expected
        assert in_prompt == (max(0, prompt - 1) if method == "orpo" else 0)


@pytest.mark.parametrize(
    "name", ["reward", "dpo", "dpo robust", "dpo hinge", "ipo mean", "orpo", "cpo", "simpo", "arpo code"]
)
@pytest.mark.parametrize(("votes_for", "label"), [(3, 1.0), (0, 0.0)])
def test_unanimous_votes_are_a_hard_label(name: str, votes_for: int, label: float, tiny_policy: Path) -> None:
    tokenizer = load_tokenizer(tiny_policy)
    config = TrainingConfig.from_dict(name.split()[0], CASES[name] | {"soft_labels": "votes"})
    record = make_record("What?", "yes, that is it", "no", votes=3, votes_for=votes_for)
    row, _cuts = encode_row(tokenizer, parse_record(json.dumps(record).encode(), config), config)
    method, scores = make_case(name), tensor([-9, -13])
    by_votes = compute(method, make_batch(method, [row]), scores).row_loss
    hard = make_batch(method, [dataclasses.replace(row, soft_label=label)])
    assert torch.equal(by_votes, compute(method, hard, scores).row_loss)
    turned = make_batch(method, [Row(row.prompt, row.replies[::-1], row.labels)])
    if label == 0 and name in SYMMETRIC:  # nobody voted for the side called chosen
        assert by_votes.item() == pytest.approx(compute(method, turned, scores.flip(0)).row_loss.item(), abs=1e-6)


@pytest.mark.parametrize("method", ["sft", "kto"])
@pytest.mark.parametrize("pairs", [0, 5])
def test_held_out_single_replies_leave_the_accuracy_to_the_pairs(
    method: str, pairs: int, tiny_policy: Path, tmp_path: Path
) -> None:
    held_out = make_separable_records(pairs)
    singles = [make_single(f"Question{' please' * number}?", f"Answer {number}") for number in range(6)]
    folder = make_run(tmp_path, method, tiny_policy, make_separable_records(4), held_out + singles, max_steps=1)
    assert Program(folder).run(main) == 0
    evaluation = json.loads((folder / "result.json").read_text())["eval"]
    assert evaluation["pairs"] == pairs
    metrics = evaluation["metrics"]
    assert math.isfinite(metrics["eval_loss"])
    assert metrics.get("eval_rewards/accuracies") == pytest.approx(evaluation["accuracy"] if pairs else None)
