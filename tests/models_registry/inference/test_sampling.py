"""Picking tokens and deriving seeds: the arithmetic behind reproducible sampling."""

from __future__ import annotations

import pytest
import torch

from models_registry.inference.program import ProgramError
from models_registry.inference.sampling import derive_seed, pick_tokens, read_sampler

PROBABILITIES = torch.tensor([0.1, 0.5, 0.0, 0.4])
LOGITS = PROBABILITIES.log().unsqueeze(0)


def draw_many(temperature: float, top_p: float, count: int = 4000) -> torch.Tensor:
    draws = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    tokens = pick_tokens(LOGITS.expand(count, -1), draws, temperature, top_p)
    return torch.bincount(tokens, minlength=4) / count


def test_without_truncation_the_shares_are_the_probabilities() -> None:
    assert torch.allclose(draw_many(1.0, 1.0), PROBABILITIES, atol=1e-3)


def test_temperature_sharpens_as_the_formula_says() -> None:
    expected = torch.softmax(LOGITS[0] / 0.5, dim=-1)
    assert torch.allclose(draw_many(0.5, 1.0), expected, atol=1e-3)


def test_nucleus_keeps_the_smallest_set_that_reaches_top_p() -> None:
    assert torch.allclose(draw_many(1.0, 0.9), torch.tensor([0.0, 5 / 9, 0.0, 4 / 9]), atol=1e-3)
    assert torch.allclose(draw_many(1.0, 0.91), PROBABILITIES, atol=1e-3)
    assert draw_many(1.0, 0.01)[1] == 1.0


def test_temperature_zero_takes_the_likeliest() -> None:
    assert draw_many(0.0, 1.0)[1] == 1.0


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-53])
def test_a_token_without_probability_is_never_taken(draw: float) -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]])
    for top_p in (1.0, 0.99):
        assert pick_tokens(logits, torch.tensor([draw], dtype=torch.float64), 1.0, top_p).item() in (1, 3)


def test_a_flat_distribution_over_a_large_vocabulary_keeps_its_whole_nucleus() -> None:
    """Wider than the shortcut for the likeliest tokens: the shares must not be those of the shortcut."""
    size, count = 5000, 2000
    draws = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    tokens = pick_tokens(torch.zeros(1, size).expand(count, -1), draws, 1.0, 0.8)
    assert len(set(tokens.tolist())) == count


def test_seeds_differ_by_job_prompt_and_sampler() -> None:
    seeds = {derive_seed(job, prompt, index) for job in (0, 1) for prompt in ("a", "b", 7) for index in (0, 1)}
    assert len(seeds) == 12
    assert all(0 <= seed < 2**48 for seed in seeds)
    assert derive_seed(3, "prompt", 1) == 11865865015855  # recorded jobs count on it


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("temperature", 2.1, "from 0 to 2"),
        ("temperature", -0.1, "from 0 to 2"),
        ("temperature", "hot", "not a number"),
        ("temperature", True, "not a number"),
        ("temperature", float("nan"), "not a number"),
        ("top_p", 0, "above 0"),
        ("top_p", 1.5, "from 0 to 1"),
        ("max_new_tokens", 0, "from 1 to 4096"),
        ("max_new_tokens", 12.5, "not a whole number"),
        ("seed", -1, "not a whole number"),
        ("seed", 2**53, "not a whole number"),
        ("model", "", "model folder"),
    ],
)
def test_a_bad_sampler_is_refused_by_field(field: str, value: object, words: str) -> None:
    with pytest.raises(ProgramError) as caught:
        read_sampler({"model": "/m", field: value}, "samplers[1]")
    assert caught.value.code == "bad_config"
    assert f"samplers[1].{field}" in str(caught.value)
    assert words in str(caught.value)
