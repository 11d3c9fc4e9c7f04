"""What training does with each token of a row, and the row as it would be if nothing were cut."""

from __future__ import annotations

import dataclasses

from transformers import PreTrainedTokenizerBase

from models_registry.inference.chat import UnusablePairError
from training.engine.config import TrainingConfig
from training.engine.data import Record, Row, encode_row
from training.engine.methods.base import Method

MASKED, TRAINED, READ, UNUSED, CUT = "masked", "trained", "read", "unused", "cut"
"""What training does with a token: passes over it, learns to predict it, reads it for the score, never sees it (a side
that the method leaves alone), or never sees it (beyond the limit)."""

Span = tuple[str, int]
"""A state and how many tokens in a row have it."""


def list_spans(row: Row, method: Method) -> dict[str, list[Span]]:
    """What training does with each token of a row: spans of the prompt and of each reply.

    The rules are those of ``layouts.py`` and of the method: a sequence's first token is not predicted, since nothing
    comes before it.
    """
    sizes = [len(reply) for reply in row.replies]
    names = ["chosen" if label else "rejected" for label in row.labels]
    if method.trains_reward_model:
        states = {name: [(READ, size)] for name, size in zip(names, sizes, strict=True)}
        return {"prompt": [(READ, len(row.prompt))], **states}
    used = sizes[: method.sides]
    prompt = _predict(len(row.prompt), has_past=False) if method.reads_prompt else [(MASKED, len(row.prompt))]
    spans = [_predict(size, has_past=bool(row.prompt)) for size in used]
    spans += [[(UNUSED, size)] for size in sizes[len(used) :]]
    return {"prompt": prompt, **dict(zip(names, spans, strict=True))}


def _predict(size: int, *, has_past: bool) -> list[Span]:
    return [(TRAINED, size)] if has_past else [(MASKED, min(1, size)), (TRAINED, max(0, size - 1))]


def encode_whole(tokenizer: PreTrainedTokenizerBase, record: Record, config: TrainingConfig) -> Row | None:
    """The record with nothing cut."""
    try:
        return encode_row(tokenizer, record, dataclasses.replace(config, max_length=2**31, max_prompt_length=0))[0]
    except UnusablePairError:
        return None
