"""Log-probabilities, scores and gradients against the model's own forward pass on ordinary padded rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from models_registry.inference.load import load_policy, load_tokenizer
from models_registry.inference.program import Program
from tests.tiny_models import make_tiny_architecture, train_tiny_tokenizer
from tests.training.engine.runs import make_row, make_rows, make_run, make_separable_records
from training.engine.attention import TREES
from training.engine.batches import Arrangement, Batch, collate
from training.engine.config import TrainingConfig
from training.engine.data import Row
from training.engine.layouts import PACKED, PLAIN, SHARED
from training.engine.logps import PolicyScorer, RewardScorer, agree, find_savings, find_window
from training.engine.run import main

WITHOUT_MASK = " without a mask"
KINDS = (PLAIN, SHARED, PACKED, SHARED + WITHOUT_MASK, PACKED + WITHOUT_MASK)
SHARING = ("llama", "qwen2", "gpt2", "opt", "gemma2", "gemma3_text", "mistral")
ROWS = [
    make_row(4, 5, prompt=7, start=3),
    make_row(3, 6, prompt=11, start=9),
    make_row(2, 0, prompt=9, start=40),
    make_row(1, 3, prompt=8, start=70),
]
"""Pairs and a single reply of varied lengths, below token 96; long prompts, so that sharing pays."""


def ask(model: Any, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """What the model itself says of each prompt + reply, padded on the right and masked as transformers does it.

    Tokens' log-probabilities [sequences, T - 1], and their mask by segment [replies + prompts, sequences, T - 1], both
    ordered as in a batch.
    """
    sides = [(reply, number) for reply in (0, 1) for number, row in enumerate(rows) if reply < len(row.replies)]
    sequences = [rows[number].prompt + rows[number].replies[reply] for reply, number in sides]
    width = max(map(len, sequences))
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids in sequences])
    mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in sequences])
    logps = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float().log_softmax(-1)
    segments = torch.zeros(len(sides) + len(rows), len(sides), width - 1)
    for side, (reply, number) in enumerate(sides):
        start = len(rows[number].prompt) - 1
        segments[side, side, max(0, start) : start + len(rows[number].replies[reply])] = 1
        if reply == 0:
            segments[len(sides) + number, side, : max(0, start)] = 1
    return logps.gather(2, ids[:, 1:, None]).squeeze(2), segments


def ask_sums(model: Any, rows: Sequence[Row]) -> Tensor:
    """[S + B] summed log-probabilities of replies and prompts."""
    logps, segments = ask(model, rows)
    return (logps * segments).sum((1, 2))


def ask_scores(model: Any, rows: Sequence[Row]) -> Tensor:
    """[S] the classifier's own output for each prompt + reply by itself, unpadded."""
    sides = [row.prompt + row.replies[reply] for reply in (0, 1) for row in rows if reply < len(row.replies)]
    return torch.cat([model(input_ids=torch.tensor([ids])).logits[0] for ids in sides])


def differentiate(model: Any, values: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The values, and the gradient of a sum that weighs each of them otherwise."""
    model.zero_grad()
    (values * torch.linspace(-1, 2, len(values))).sum().backward()  # type: ignore[no-untyped-call]
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    return values.detach(), gradients


def attend(model: Any, kind: str) -> None:
    """Lets the model attend as ``kind`` says."""
    if WITHOUT_MASK in kind:
        if model.config._attn_implementation != "sdpa":
            pytest.skip("does not go through PyTorch's attention")
        model.set_attn_implementation(TREES)


def lay(rows: Sequence[Row], kind: str, *, with_prompt: bool = True) -> Batch:
    kind = kind.removesuffix(WITHOUT_MASK)
    batch = collate(rows, Arrangement(0, layout=kind, capacity=60, with_prompt=with_prompt))
    assert (batch.trees is None) == (kind == PLAIN)
    return batch


def savings(scorer: PolicyScorer | RewardScorer, longest: int) -> tuple[bool, bool]:
    """As a run asks for them."""
    return find_savings(scorer, lay(ROWS[:2], PLAIN), lay(ROWS[:2], PACKED, with_prompt=False), longest)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", SHARING)
def test_logps_and_gradients_are_the_models_own(architecture: str, kind: str) -> None:
    # the cap of Gemma 2's logits, which the head's own path does without, is a test of its own
    uncapped: dict[str, Any] = {"final_logit_softcapping": None} if "gemma" in architecture else {}
    model = make_tiny_architecture(architecture, **uncapped)
    expected = differentiate(model, ask_sums(model, ROWS))
    attend(model, kind)
    scorer = PolicyScorer(model)
    assert scorer.reads_hidden_states
    torch.testing.assert_close(differentiate(model, scorer(lay(ROWS, kind))), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", SHARING)
def test_scores_and_gradients_are_the_models_own(architecture: str, kind: str) -> None:
    model = make_tiny_architecture(architecture, reward=True)
    expected = differentiate(model, ask_scores(model, ROWS))
    attend(model, kind)
    found = differentiate(model, RewardScorer(model)(lay(ROWS, kind, with_prompt=False)))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_replies_without_a_prompt(kind: str) -> None:
    """Their first token is predicted by nothing."""
    rows = [make_row(3, 4, prompt=0), make_row(5, 2, prompt=20, start=30)]
    model = make_tiny_architecture("llama")
    expected = differentiate(model, ask_sums(model, rows))
    attend(model, kind)
    torch.testing.assert_close(
        differentiate(model, PolicyScorer(model)(lay(rows, kind))), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("architecture", "context"),
    [("llama", "max_position_embeddings"), ("gpt2", "n_positions"), ("opt", "max_position_embeddings")],
)
def test_a_shared_row_may_be_longer_than_what_the_model_reads(architecture: str, context: str) -> None:
    """Places count within a conversation."""
    rows = [make_row(12, 11, prompt=12), make_row(9, 12, prompt=10, start=40)]
    sizes: dict[str, Any] = {context: 24}
    model = make_tiny_architecture(architecture, **sizes)
    batch = lay(rows, SHARED)
    assert batch.input_ids.shape[1] == 35
    torch.testing.assert_close(PolicyScorer(model)(batch), ask_sums(model, rows), rtol=1e-4, atol=1e-4)


def test_a_reply_that_holds_the_padding_token_is_scored_at_its_end() -> None:
    """transformers would look for the last token that is no padding."""
    model = make_tiny_architecture("llama", reward=True)
    row = Row([5, 6, 7], ([8, 9, 0], [8, 9]), labels=(True, False))
    chosen, _rejected = RewardScorer(model)(lay([row], PLAIN, with_prompt=False)).tolist()
    hidden = model.model(torch.tensor([[5, 6, 7, 8, 9, 0]])).last_hidden_state
    assert chosen == pytest.approx(model.score(hidden[0, -1]).item(), abs=1e-5)


def test_prompts_are_not_scored_unless_they_are_asked_for() -> None:
    sums = PolicyScorer(make_tiny_architecture("llama"))(lay(ROWS, PLAIN, with_prompt=False))
    assert len(sums) == 7 + 4 and not sums[7:].any()


@pytest.mark.parametrize("architecture", SHARING)
def test_savings_are_found_where_they_are_sound(architecture: str) -> None:
    capped = architecture == "gemma2"
    assert savings(PolicyScorer(make_tiny_architecture(architecture)), longest=64) == (not capped, not capped)
    assert savings(RewardScorer(make_tiny_architecture(architecture, reward=True)), longest=64) == (True, True)


@pytest.mark.parametrize("architecture", ["gemma3_text", "mistral"])
def test_windows_shorter_than_a_sequence_rule_sharing_out(architecture: str) -> None:
    scorer = PolicyScorer(make_tiny_architecture(architecture))
    assert find_window(scorer.model) == 64
    assert savings(scorer, longest=64) == (True, True)
    assert savings(scorer, longest=65) == (True, False)


def test_windows_of_gpt_neo_rule_sharing_out_altogether() -> None:
    """They count places in the row, so that another branch in between takes sight away: no short row would show it."""
    model = make_tiny_architecture("gpt_neo", window_size=24)
    scorer = PolicyScorer(model)
    assert savings(scorer, longest=18) == (True, False)
    rows = [make_row(8, 8, prompt=12)]
    expected = ask_sums(model, rows)
    assert agree(scorer(lay(rows, PLAIN)), expected)
    assert not agree(scorer(lay(rows, SHARED)), expected)


@pytest.mark.parametrize(
    ("values", "window"),
    [
        ({}, torch.inf),
        ({"sliding_window": None}, torch.inf),
        ({"sliding_window": 32}, 32),
        ({"sliding_window": 32, "layer_types": ["full_attention"]}, torch.inf),
        ({"sliding_window": 32, "layer_types": ["full_attention", "sliding_attention"]}, 32),
        ({"attention_chunk_size": 16, "layer_types": ["chunked_attention"]}, 16),
        ({"attention_layers": ["global", "global"]}, torch.inf),
        ({"attention_layers": ["global", "local"]}, 0),
    ],
)
def test_window(values: dict[str, Any], window: float) -> None:
    config = SimpleNamespace(**values)
    config.get_text_config = lambda: config
    assert find_window(SimpleNamespace(config=config)) == window


@pytest.mark.parametrize("architecture", ["bloom", "mpt", "lfm2"])
def test_architectures_that_cannot_share_repeat_their_prompts(architecture: str) -> None:
    """ALiBi counts places in the row, and a convolution looks at whatever stands before."""
    model = make_tiny_architecture(architecture)
    scorer = PolicyScorer(model)
    assert savings(scorer, longest=18) == (True, False)
    expected = differentiate(model, ask_sums(model, ROWS))
    torch.testing.assert_close(differentiate(model, scorer(lay(ROWS, PLAIN))), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("initializer_range", [0.2, 0.02])
def test_capped_logits_need_the_full_forward_pass(initializer_range: float) -> None:
    """Small logits hardly reach the cap, but they grow in training."""
    model = make_tiny_architecture("gemma2", initializer_range=initializer_range, final_logit_softcapping=30.0)
    scorer = PolicyScorer(model)
    assert savings(scorer, longest=18) == (False, False)
    assert not scorer.reads_hidden_states


@pytest.mark.parametrize("architecture", ["gemma2", "granite"])
def test_full_forward_pass_gives_the_models_own_numbers(architecture: str) -> None:
    """Where the logits are more than a product with the head."""
    model = make_tiny_architecture(architecture)
    expected = differentiate(model, ask_sums(model, ROWS))
    scorer = PolicyScorer(model)
    assert not agree(scorer(lay(ROWS, PLAIN)), expected[0])
    assert savings(scorer, longest=18) == (False, False)
    torch.testing.assert_close(differentiate(model, scorer(lay(ROWS, PLAIN))), expected, rtol=1e-4, atol=1e-4)


class Headless(torch.nn.Module):
    """A model whose head transformers would not know."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inner, self.config, self.base_model = model, model.config, model.base_model

    def get_output_embeddings(self) -> None:
        return None

    def forward(self, **inputs: Any) -> Any:
        return self.inner(**inputs)


def test_a_model_without_a_known_head_gets_the_full_forward_pass() -> None:
    model = make_tiny_architecture("llama")
    scorer = PolicyScorer(Headless(model))
    assert savings(scorer, longest=18) == (False, False)
    torch.testing.assert_close(scorer(lay(ROWS, PLAIN)), ask_sums(model, ROWS), rtol=1e-4, atol=1e-4)


def test_savings_are_judged_in_fp32_and_the_precision_is_put_back() -> None:
    scorer = PolicyScorer(make_tiny_architecture("llama"), torch.bfloat16)
    assert savings(scorer, longest=18) == (True, True)
    assert scorer.autocast == torch.bfloat16
    scorer = PolicyScorer(make_tiny_architecture("granite"), torch.bfloat16)
    assert savings(scorer, longest=18) == (False, False)


def test_an_encoder_scores_through_its_own_head() -> None:
    model = make_tiny_architecture("bert", reward=True)
    scorer = RewardScorer(model)
    assert savings(scorer, longest=18) == (False, False)
    expected = differentiate(model, ask_scores(model, ROWS))
    found = differentiate(model, scorer(lay(ROWS, PLAIN, with_prompt=False)))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_stays_near_fp32(kind: str, tiny_policy: Path) -> None:
    model = load_policy(tiny_policy, torch.float32)
    rows = make_rows(load_tokenizer(tiny_policy), make_separable_records(6), TrainingConfig.from_dict("dpo", {}))
    attend(model, kind)
    batch = collate(rows, Arrangement(0, layout=kind.removesuffix(WITHOUT_MASK), capacity=512))
    exact, rough = PolicyScorer(model)(batch), PolicyScorer(model, torch.bfloat16)(batch)
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, atol=0.1, rtol=0.01)


def test_agreement_is_relative_to_the_sum() -> None:
    sums = torch.tensor([-0.1, -500.0])
    assert agree(sums * (1 + 5e-5), sums)
    assert not agree(sums * (1 + 5e-3), sums)
    assert not agree(sums + torch.tensor([0.0, torch.nan]), sums)


def save_architecture(folder: Path, name: str, *, reward: bool = False) -> Path:
    tokenizer = train_tiny_tokenizer()
    model = make_tiny_architecture(name, reward=reward, vocab_size=len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("architecture", "method", "notes"),
    [
        ("bloom", "dpo", ["does not allow prompts to be shared"]),
        ("gemma2", "orpo", ["needs the full forward pass", "does not allow prompts to be shared"]),
        ("bert", "reward", ["needs the full forward pass", "does not allow prompts to be shared"]),
        ("llama", "dpo", []),
    ],
)
def test_a_run_notes_what_its_architecture_does_not_allow(
    architecture: str, method: str, notes: list[str], tmp_path: Path
) -> None:
    model = save_architecture(tmp_path / "model", architecture, reward=architecture == "bert")
    run = make_run(tmp_path / "run", method, model, make_separable_records(6), max_steps=2)
    assert Program(run).run(main) == 0
    told = json.loads((run / "result.json").read_text())["notes"]
    assert len([note for note in told if "architecture" in note]) == len(notes)
    assert all(any(note in each for each in told) for note in notes)
