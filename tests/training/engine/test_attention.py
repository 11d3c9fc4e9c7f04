"""Attention over trees: what it leaves out, and how it takes part in a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tests.models_registry.inference.jobs import run_program
from tests.training.engine.runs import make_run, make_separable_records, repeatable
from training.engine import attention
from training.engine.attention import SHORT, attend, make_table
from training.engine.layouts import PACKED, PLAIN, SHARED, Tree, lay_out, make_mask
from training.engine.run import main

trees = st.builds(
    lambda prompt, branches: Tree([1] * prompt, tuple([2] * size for size in branches)),
    st.integers(0, 5),
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
)


class Layer:
    """What transformers' attention functions ask of a layer."""

    is_causal = True
    num_key_value_groups = 2
    training = False


def make_states(rows: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of four heads, keys and values of two."""
    query, key, value = (torch.randn(rows, heads, width, 8, requires_grad=True) for heads in (4, 2, 2))
    return query, key, value


@given(forest=st.lists(trees, min_size=1, max_size=4), kind=st.sampled_from([SHARED, PACKED]))
@repeatable
def test_it_is_attention_under_the_mask_of_the_layout(forest: list[Tree], kind: str) -> None:
    layout = lay_out(forest, kind, pad_id=0, capacity=20)
    assert layout.trees is not None
    assert layout.branches is not None
    states = make_states(*layout.trees.shape)
    counted = (layout.trees >= 0)[..., None, None]  # padding's own output is nobody's concern
    found = attend(Layer(), *states, make_table(layout.trees, layout.branches))[0] * counted
    query, key, value = states
    mask = make_mask(layout.trees, layout.branches)
    keys, values = (part.repeat_interleave(2, dim=1) for part in (key, value))
    expected = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask).transpose(1, 2) * counted
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(found)
    gradients = torch.autograd.grad((found * weights).sum(), states)
    torch.testing.assert_close(gradients, torch.autograd.grad((expected * weights).sum(), states))


def test_short_trees_are_attended_to_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.dtype] = []
    plain: Any = sdpa_attention_forward

    def watch(module: Any, query: Tensor, *others: Any, **options: Any) -> Any:
        seen.append(query.dtype)
        return plain(module, query, *others, **options)

    monkeypatch.setattr(attention, "sdpa_attention_forward", watch)
    layout = lay_out([Tree([1] * 4, ([1],)), Tree([1] * SHORT, ([1],))], PACKED, pad_id=0, capacity=2 * SHORT)
    assert layout.trees is not None
    assert layout.branches is not None
    query, key, value = (part.detach().bfloat16() for part in make_states(*layout.trees.shape))
    with torch.autocast("cpu", torch.bfloat16):
        output = attend(Layer(), query, key, value, make_table(layout.trees, layout.branches))[0]
    assert output.dtype == torch.bfloat16
    assert sorted(map(str, seen)) == ["torch.bfloat16", "torch.float32"]


@pytest.mark.parametrize(
    ("settings", "calls"), [({}, True), ({"attention": "sdpa"}, False), ({"layout": PLAIN}, False)]
)
def test_a_run_on_a_cpu_lays_a_pass_into_one_row(
    settings: dict[str, Any], calls: bool, tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []

    def watch(trees: Tensor, branches: Tensor) -> Tensor:
        shapes.append(tuple(trees.shape))
        return make_table(trees, branches)

    monkeypatch.setattr("training.engine.logps.make_table", watch)
    folder = make_run(tmp_path / "run", "dpo", tiny_policy, make_separable_records(8), batch_size=4, **settings)
    assert run_program(main, folder) == 0
    _first, *later = shapes or [(0, 0)]  # the first one finds out whether the model allows it
    assert bool(later) == calls
    assert all(rows == 1 for rows, _width in later)
    saved = json.loads((folder / "model" / "config.json").read_text())
    assert attention.TREES not in json.dumps(saved)
