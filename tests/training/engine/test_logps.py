"""The short way to log-probabilities and scores against the model's own forward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from models_registry.inference.load import load_policy, load_reward_model, load_tokenizer
from tests.training.engine.runs import make_rows, make_separable_records
from training.engine import logps
from training.engine.batches import Batch, collate
from training.engine.config import TrainingConfig
from training.engine.logps import PolicyScorer, RewardScorer, agrees_with_full_forward, sum_completions


@pytest.fixture
def batch(tiny_policy: Path) -> Batch:
    tokenizer = load_tokenizer(tiny_policy)
    rows = make_rows(tokenizer, make_separable_records(6), TrainingConfig.from_dict("dpo", {}))
    return collate(rows, pad_id=tokenizer.pad_token_id, prompt_of_chosen=True)


def full_logps(model: Any, batch: Batch, row: int) -> torch.Tensor:
    """Log-probabilities of one sequence by itself, unpadded, from all logits."""
    ids = batch.input_ids[row, : batch.lengths[row]]
    logits: torch.Tensor = model(ids[None]).logits[0, :-1]
    return logits.log_softmax(-1).gather(1, ids[1:, None]).squeeze(1)


def test_logps_of_a_padded_batch_are_those_of_each_sequence_alone(tiny_policy: Path, batch: Batch) -> None:
    model = load_policy(tiny_policy, torch.float32)
    token_logps = PolicyScorer(model)(batch)
    chosen, rejected = sum_completions(token_logps, batch)
    for row, total in enumerate([*chosen.tolist(), *rejected.tolist()]):
        expected = full_logps(model, batch, row)
        mask = batch.completion_mask[row, : len(expected)].bool()
        assert total == pytest.approx(expected[mask].sum().item(), abs=1e-3)
        if row < len(chosen):  # the prompt was asked for on the chosen side only
            torch.testing.assert_close(token_logps[row, : len(expected)], expected, atol=1e-4, rtol=1e-4)
        else:
            assert not token_logps[row, : len(expected)][~mask].any()


def test_chunks_of_the_head_change_neither_value_nor_gradient(
    tiny_policy: Path, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = []
    for elements in (logps.HEAD_CHUNK_ELEMENTS, 480 * 7):
        monkeypatch.setattr(logps, "HEAD_CHUNK_ELEMENTS", elements)
        model = load_policy(tiny_policy, torch.float32)
        total = PolicyScorer(model)(batch).sum()
        total.backward()
        outcomes.append((total, {name: weight.grad for name, weight in model.named_parameters()}))
    torch.testing.assert_close(outcomes[0], outcomes[1], atol=1e-4, rtol=1e-4)


def test_short_way_is_recognised_as_exact_for_a_llama(tiny_policy: Path, batch: Batch) -> None:
    scorer = PolicyScorer(load_policy(tiny_policy, torch.float32))
    assert agrees_with_full_forward(scorer, batch)
    assert scorer.reads_hidden_states


def test_model_that_caps_its_logits_gets_the_full_forward(batch: Batch) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=512, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, final_logit_softcapping=0.05, initializer_range=0.5,
    )  # fmt: skip
    model: Any = Gemma2ForCausalLM(config).eval()  # type: ignore[no-untyped-call]
    scorer = PolicyScorer(model)
    assert not agrees_with_full_forward(scorer, batch)
    scorer.reads_hidden_states = False
    expected = full_logps(model, batch, 0)
    torch.testing.assert_close(scorer(batch)[0, : len(expected)], expected, atol=1e-4, rtol=1e-4)


def test_score_is_read_at_the_last_token_of_each_conversation(tiny_policy: Path, batch: Batch) -> None:
    model: Any = load_reward_model(tiny_policy, torch.float32)
    scores = RewardScorer(model)(batch)
    for row, score in enumerate(scores.tolist()):
        ids = batch.input_ids[row, : batch.lengths[row]]
        assert score == pytest.approx(model(ids[None]).logits.item(), abs=1e-5)


def test_bf16_stays_near_fp32(tiny_policy: Path, batch: Batch) -> None:
    model = load_policy(tiny_policy, torch.float32)
    exact, rough = PolicyScorer(model)(batch), PolicyScorer(model, torch.bfloat16)(batch)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, atol=0.1, rtol=0.05)
