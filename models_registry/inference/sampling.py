"""Sampling responses of a causal language model so that the same seed gives the same text.

Each row draws its random numbers from a generator of its own, seeded by job, prompt and sampler, and picks tokens by
inverting the distribution's cumulative sum. So a row's draws do not depend on its neighbours, on the order of the
prompts or on what was done before an interruption. What a batch can still change is the last bit of the logits.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from models_registry.inference.job_input import read_number
from models_registry.inference.program import ProgramError

if TYPE_CHECKING:
    import torch

MAX_NEW_TOKENS = 4096
MAX_TEMPERATURE = 2.0
MAX_SEED = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly."""

_NUCLEUS = 1024
"""So many likeliest tokens nearly always hold the nucleus; sorting a whole vocabulary took a quarter of the time."""
_SEED_BYTES = 6


@dataclass(frozen=True)
class Sampler:
    """Where one of a prompt's responses comes from. ``temperature`` 0 means: always the likeliest token."""

    model: str
    label: str
    temperature: float
    top_p: float
    max_new_tokens: int
    seed: int


@dataclass(frozen=True)
class Sample:
    """One sampled response; ``tokens`` counts new tokens without the one that ended it."""

    text: str
    tokens: int
    finish: Literal["eos", "length"]


def read_sampler(raw: object, where: str) -> Sampler:
    """A sampler from the job's config; ProgramError ``bad_config`` names the field and the bound."""
    if not isinstance(raw, dict):
        raise ProgramError("bad_config", f"{where}: must be an object.")

    model = raw.get("model")
    if not isinstance(model, str) or not model:
        raise ProgramError("bad_config", f"{where}.model: the path of a model folder is needed.")
    top_p = read_number(raw, "top_p", 1.0, 0.0, 1.0, where=f"{where}.")
    if top_p == 0:
        raise ProgramError("bad_config", f"{where}.top_p: must be above 0; for the likeliest token set temperature 0.")
    return Sampler(
        model=model,
        label=str(raw.get("label", "")),
        temperature=read_number(raw, "temperature", 1.0, 0.0, MAX_TEMPERATURE, where=f"{where}."),
        top_p=top_p,
        max_new_tokens=int(read_number(raw, "max_new_tokens", 256, 1, MAX_NEW_TOKENS, whole=True, where=f"{where}.")),
        seed=int(read_number(raw, "seed", 0, 0, MAX_SEED, whole=True, where=f"{where}.")),
    )


def derive_seed(job_seed: int, prompt_id: object, sampler: int) -> int:
    """The seed of one response: a 48-bit number out of the job's seed, the prompt's id and the sampler's index."""
    digest = hashlib.sha256(f"{job_seed}\n{sampler}\n{prompt_id}".encode()).digest()
    return int.from_bytes(digest[:_SEED_BYTES], "big")


def sample_batch(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    sampler: Sampler,
    max_new_tokens: int,
    should_stop: Callable[[], bool],
) -> list[Sample] | None:
    """One response for each prompt (token ids), or None when ``should_stop`` answered yes meanwhile.

    The prompts are padded on the left to one length; prompt and response must fit the model's context together.
    """
    import torch
    from transformers import GenerationConfig

    stops = find_stop_tokens(model, tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (stops[0] if stops else 0)
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=model.device)
    # The model's own generation settings (repetition penalty, top-k ...) must not mix with the recorded ones.
    own_settings = model.generation_config
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=stops or None, pad_token_id=pad
    )
    picker = _Picker(sampler, seeds, max_new_tokens)
    stopper = _Stopper(should_stop)
    try:
        with torch.inference_mode():
            output = model.generate(
                input_ids=ids, attention_mask=mask, logits_processor=[picker], stopping_criteria=[stopper]
            )
    finally:
        model.generation_config = own_settings
    if stopper.stopped:
        return None
    return [_read_sample(tokenizer, row, stops) for row in output[:, width:].tolist()]


def find_stop_tokens(model: Any, tokenizer: Any) -> list[int]:
    """The tokens that end a response: those of the model's generation settings and the tokenizer's own."""
    named = model.generation_config.eos_token_id
    found = named if isinstance(named, list) else [named]
    return sorted({token for token in [*found, tokenizer.eos_token_id] if token is not None})


def pick_tokens(logits: torch.Tensor, draws: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """Token ids (rows,) for logits (rows, vocabulary) and uniform draws (rows,) in [0, 1).

    Nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751): the smallest set of likeliest tokens whose probability
    reaches ``top_p``; the likeliest token is always in it.
    """
    import torch

    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = torch.softmax(logits.double() / temperature, dim=-1)
    if top_p >= 1:
        return _invert(probabilities, draws)
    ordered, order = probabilities.topk(min(_NUCLEUS, probabilities.shape[-1]))
    if bool((ordered.sum(dim=-1) < top_p).any()):  # a flat distribution: then all of it, which costs ten times as much
        ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    nucleus = torch.where(ordered.cumsum(dim=-1) - ordered < top_p, ordered, 0.0)
    return order.gather(-1, _invert(nucleus, draws).unsqueeze(-1)).squeeze(-1)


def _invert(weights: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
    """The place (rows,) where each row's running sum of weights passes its draw; a place of weight 0 is never taken."""
    import torch

    kept = weights.cumsum(dim=-1)
    target = draws.to(kept.device, kept.dtype).unsqueeze(-1) * kept[:, -1:]
    return torch.searchsorted(kept, target, right=True).clamp(max=kept.shape[-1] - 1).squeeze(-1)


class _Picker:
    """A logits processor that decides the token itself, so that the greedy search after it only takes it."""

    def __init__(self, sampler: Sampler, seeds: Sequence[int], length: int) -> None:
        import torch

        self._sampler = sampler
        self._step = 0
        self._draws = torch.stack(
            [torch.rand(length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in seeds]
        )

    def __call__(self, _ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        if not bool(logits.isfinite().any(dim=-1).all()):
            raise ProgramError("nan_logits", "The model gives no finite probabilities: its weights are damaged.")
        tokens = pick_tokens(logits, self._draws[:, self._step], self._sampler.temperature, self._sampler.top_p)
        self._step += 1
        return logits.new_full(logits.shape, -math.inf).scatter_(-1, tokens.unsqueeze(-1), 0.0)


class _Stopper:
    """A stopping criterion that ends the whole batch when the program is asked to leave."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop
        self.stopped = False

    def __call__(self, ids: torch.Tensor, _scores: Any, **_kwargs: Any) -> torch.Tensor:
        import torch

        self.stopped = self.stopped or self._should_stop()
        return torch.full((ids.shape[0],), self.stopped, device=ids.device, dtype=torch.bool)


def _read_sample(tokenizer: Any, tokens: list[int], stops: list[int]) -> Sample:
    end = next((place for place, token in enumerate(tokens) if token in stops), None)
    new = tokens if end is None else tokens[:end]
    text = tokenizer.decode(new, skip_special_tokens=True).strip()
    return Sample(text=text, tokens=len(new), finish="length" if end is None else "eos")
