"""FlexAttention's rule is the mask of the plain way. Training with it needs a GPU; what it sees does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import create_mask, flex_attention

from tests.models_registry.inference.jobs import read_status, run_program
from tests.training.engine.runs import make_run, make_separable_records
from training.engine.layouts import PACKED, SHARED, Tree, lay_out, make_block_mask, make_mask, make_rule
from training.engine.run import main

TREES = [Tree([1, 2, 3], ([4, 5], [6, 7, 8])), Tree([9], ([1], [2, 3])), Tree([4, 4, 4, 4], ([5],))]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [SHARED, PACKED])
def test_rule_is_the_mask(kind: str) -> None:
    layout = lay_out(TREES, kind, pad_id=0, capacity=14)
    assert layout.trees is not None
    assert layout.branches is not None
    rows, width = layout.trees.shape
    mask = make_mask(layout.trees, layout.branches)
    rule = make_rule(layout.trees, layout.branches)
    assert torch.equal(create_mask(rule, rows, 1, width, width, device="cpu"), mask)

    query, key, value = torch.randn(3, rows, 2, width, 16)
    block_mask = make_block_mask(layout.trees, layout.branches)
    flexible = flex_attention(query, key, value, block_mask=block_mask)
    plain = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(flexible, plain)


@pytest.mark.skipif(torch.cuda.is_available(), reason="refused only where there is no GPU")
def test_flex_is_refused_on_a_cpu(tiny_policy: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "dpo", tiny_policy, make_separable_records(4), attention="flex")
    assert run_program(main, run) == 1
    assert read_status(run)["cause"]["code"] == "bad_config"
