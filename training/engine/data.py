"""Reads exported comparisons (JSON Lines, one record a line) and turns them into token ids.

    {"prompt": [{"role": "user", "content": "…"}], "chosen": [{"role": "assistant", "content": "…"}], "rejected": […],
     "margin": null, "grade": "slightly", "votes": 3, "votes_for": 2, "comparison_id": 7, "prompt_id": 3}

SFT and KTO also read records of one reply, KTO with a verdict on it:

    {"prompt": […], "completion": [{"role": "assistant", "content": "…"}], "label": true}

Other keys are ignored. A line that is no such record fails the run with its number and the reason; one that is well
formed but cannot be trained on (identical sides, too long) is left out and counted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from models_registry.inference.chat import UnusablePairError, encode_pair, encode_reply
from models_registry.inference.program import ProgramError
from training.engine.config import GRADES, LARGEST_MARGIN, TrainingConfig
from training.engine.reasons import name_dropped

Message = dict[str, str]
MAX_REPORTED = 5
MOST_VOTES = 10**6
LARGEST_WEIGHT = 1e6
_HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")
"""A surrogate by itself: JSON can write one, but it is no text."""


@dataclass(frozen=True)
class Record:
    """One line of the file: two replies, the better one first, or one reply with a verdict."""

    prompt: list[Message]
    replies: tuple[list[Message], ...]
    labels: tuple[bool, ...]
    """Which replies are wanted: (True, False) for a pair."""
    grade: str | None = None
    margin: float = 0.0
    votes: int = 0
    votes_for: int = 0
    votes_chosen_left: int | None = None
    soft_label: float | None = None
    weight: float | None = None
    line: int = 0
    """Its number in the file, from 1."""

    @property
    def is_pair(self) -> bool:
        return len(self.replies) == 2


@dataclass(frozen=True)
class Row:
    """One record ready for training."""

    prompt: list[int]
    replies: tuple[list[int], ...]
    labels: tuple[bool, ...]
    margin: float = 0.0
    soft_label: float = 1.0
    """Probability that the chosen side is the better one."""
    weight: float = 1.0
    grade: str | None = None
    length_gap: int = 0
    """Characters by which the chosen reply is longer than the rejected one."""
    position: float | None = None
    """Share of the votes for which the chosen reply stood on the left; None when unknown."""
    boundary_moved: int = 0
    """Tokens of the rendered prompt that went over to the replies (see chat.py)."""

    @property
    def is_pair(self) -> bool:
        return len(self.replies) == 2

    @property
    def length(self) -> int:
        """Tokens of the longest of its sequences."""
        return len(self.prompt) + max(map(len, self.replies))

    @property
    def tokens(self) -> int:
        """Tokens of all its sequences, each with its prompt."""
        return len(self.prompt) * len(self.replies) + sum(map(len, self.replies))


@dataclass
class Dataset:
    """Rows in the order of the file, and what became of the others."""

    rows: list[Row]
    sha256: str
    read: int
    dropped: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)

    def count(self) -> dict[str, Any]:
        """For the result: how many were read, used, cut (and where) and left out (and why).

        ``boundary_moved`` counts rows whose chat template renders a finished turn unlike the one it asks for: part of
        the prompt is then learned as if it were reply. One token that merges with the reply is no such sign.
        """
        return {
            "read": self.read,
            "used": len(self.rows),
            "truncated": dict(self.cut),
            "dropped": dict(self.dropped),
            "boundary_moved": sum(row.boundary_moved > 1 for row in self.rows),
            "sha256": self.sha256,
        }


@dataclass(frozen=True)
class Outcome:
    """What became of one record."""

    record: Record
    row: Row | None
    """As it is or would be trained on; None where it cannot be."""
    cuts: dict[str, int]
    """Tokens cut, by place."""
    dropped: str
    """Why it is left out; empty when it is used."""


def load_dataset(
    path: Path,
    tokenizer: PreTrainedTokenizerBase,
    config: TrainingConfig,
    sha256: str = "",
    on_record: Callable[[Outcome], None] = lambda _outcome: None,
) -> Dataset:
    """Reads and encodes a file, which must have the digest ``sha256`` if one is given.

    ``on_record`` is told of each record, in the order of the file. Raises ProgramError ``bad_data``.
    """
    digest = hash_file(path)
    if sha256 and digest != sha256:
        raise ProgramError("bad_data", f"{path.name} is not the file this run was made for: its SHA-256 is {digest}.")
    records = read_records(path, config)
    dataset = Dataset(rows=[], sha256=digest, read=len(records))
    for record in records:
        outcome = _try_to_encode(tokenizer, record, config)
        on_record(outcome)
        if outcome.row is None or outcome.dropped:
            dataset.dropped[outcome.dropped] += 1
            continue
        dataset.cut.update([*outcome.cuts, "any"] if outcome.cuts else [])
        dataset.rows.append(outcome.row)
    dataset.rows = normalise_weights(dataset.rows)
    return dataset


def require_rows(dataset: Dataset, path: Path) -> None:
    """Raises ProgramError ``no_data``, with the reasons, when nothing usable is left."""
    if not dataset.rows:
        reasons = "; ".join(f"{name_dropped(code)} ({count})" for code, count in dataset.dropped.items())
        raise ProgramError("no_data", f"{path.name} holds no pair to train on: {reasons or 'the file is empty'}.")
    if not any(row.weight for row in dataset.rows):
        raise ProgramError("no_data", f"{path.name} holds no pair that counts: all weights are 0.")


def encode_row(
    tokenizer: PreTrainedTokenizerBase, record: Record, config: TrainingConfig
) -> tuple[Row, dict[str, int]]:
    """The record as token ids, and how many tokens were cut where. Raises UnusablePairError."""
    if config.method == "sft" and not record.labels[0]:
        raise UnusablePairError("not_wanted", "SFT learns from wanted replies alone.")
    limits = config.max_length, config.prompt_limit
    replies: tuple[list[int], ...]
    if record.is_pair:
        chosen, rejected = record.replies
        pair = encode_pair(tokenizer, record.prompt, chosen, rejected, *limits)
        prompt, replies, moved = pair.prompt, (pair.chosen, pair.rejected), pair.boundary_moved
        cuts = {"prompt": pair.prompt_cut, "chosen": pair.chosen_cut, "rejected": pair.rejected_cut}
        gap = _count_characters(record.replies[0]) - _count_characters(record.replies[1])
    else:
        single = encode_reply(tokenizer, record.prompt, record.replies[0], *limits)
        prompt, replies, gap, moved = single.prompt, (single.reply,), 0, single.boundary_moved
        cuts = {"prompt": single.prompt_cut, "chosen" if record.labels[0] else "rejected": single.reply_cut}
    row = Row(
        prompt=prompt,
        replies=replies,
        labels=record.labels,
        margin=config.margin_of(record.grade, record.margin),
        soft_label=_choose_soft_label(record, config),
        weight=_choose_weight(record, config),
        grade=record.grade,
        length_gap=gap,
        position=record.votes_chosen_left / record.votes
        if record.votes and record.votes_chosen_left is not None
        else None,
        boundary_moved=moved,
    )
    return row, {name: count for name, count in cuts.items() if count}


def fit_lengths(config: TrainingConfig, context_length: int | None) -> TrainingConfig:
    """The settings with lengths that the model can read."""
    if context_length is None or config.max_length <= context_length:
        return config
    prompt = min(config.prompt_limit, context_length // 2)
    return dataclasses.replace(config, max_length=context_length, max_prompt_length=prompt)


def normalise_weights(rows: list[Row]) -> list[Row]:
    """Weights with mean 1, so that they shift attention between rows and leave the step size alone."""
    total = math.fsum(row.weight for row in rows)
    if not rows or all(row.weight == 1.0 for row in rows) or total == 0:
        return rows
    return [dataclasses.replace(row, weight=row.weight * len(rows) / total) for row in rows]


def pair_with_strangers(rows: Sequence[Row], seed: int) -> list[tuple[list[int], ...]]:
    """For each row replies to other prompts, as many as it has: what KTO measures its KL divergence on.

    Each row gets the replies of the next row with another prompt in an order drawn from ``seed``. Raises ProgramError
    ``no_data`` when all prompts are the same.
    """
    order = list(range(len(rows)))
    random.Random(f"strangers:{seed}").shuffle(order)
    others: list[int | None] = [None] * len(rows)
    for place in reversed(range(2 * len(order))):  # twice round: what follows the last one is known after once
        number, after = order[place % len(order)], order[(place + 1) % len(order)]
        others[number] = after if rows[after].prompt != rows[number].prompt else others[after]
    strangers = []
    for row, other in zip(rows, others, strict=True):
        if other is None:
            raise ProgramError("no_data", "KTO needs at least two different prompts.")
        replies = rows[other].replies
        room = max(1, max(map(len, row.replies)))  # no longer than the row itself: lengths keep to their limit
        strangers.append(tuple(replies[reply % len(replies)][:room] for reply in range(len(row.replies))))
    return strangers


def read_records(path: Path, config: TrainingConfig) -> list[Record]:
    """All records of the file. Raises ProgramError ``bad_data`` naming the first bad lines and their reasons."""
    records: list[Record] = []
    problems: list[str] = []
    for number, line in _number_lines(path):
        try:
            records.append(dataclasses.replace(parse_record(line, config), line=number))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if problems:
        more = f" (and {len(problems) - MAX_REPORTED} more)" if len(problems) > MAX_REPORTED else ""
        raise ProgramError("bad_data", f"{path.name}: {'; '.join(problems[:MAX_REPORTED])}{more}")
    return records


def parse_record(line: bytes, config: TrainingConfig) -> Record:
    """One line as a record that ``config`` can use. Raises ValueError with the field and the reason."""
    try:
        record = json.loads(line)
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 ({error.reason})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no valid JSON ({error})") from error
    if not isinstance(record, dict):
        raise ValueError("must be a JSON object")
    prompt = _read_messages(record, "prompt")
    if "completion" in record and config.reads_single_replies:
        label = record.get("label", None if config.method == "kto" else True)
        if not isinstance(label, bool):
            raise ValueError("label must be true or false")
        replies: tuple[list[Message], ...] = (_read_messages(record, "completion"),)
        labels: tuple[bool, ...] = (label,)
    else:
        replies, labels = (_read_messages(record, "chosen"), _read_messages(record, "rejected")), (True, False)
    grade = record.get("grade")
    if grade is not None and grade not in GRADES:
        raise ValueError(f"grade must be one of {', '.join(GRADES)} or null")
    votes = _read_count(record, "votes", 0)
    chosen_left = _read_count(record, "votes_chosen_left", None, most=votes)
    return Record(
        prompt=prompt,
        replies=replies,
        labels=labels,
        grade=grade,
        margin=_read_number(record, "margin", 0.0, -LARGEST_MARGIN, LARGEST_MARGIN) if config.margin == "file" else 0.0,
        votes=votes,
        votes_for=_read_count(record, "votes_for", votes, most=votes),
        votes_chosen_left=chosen_left,
        soft_label=_read_number(record, "soft_label", None, 0, 1),
        weight=_read_number(record, "weight", None, 0, LARGEST_WEIGHT),
    )


def _try_to_encode(tokenizer: PreTrainedTokenizerBase, record: Record, config: TrainingConfig) -> Outcome:
    try:
        row, cuts = encode_row(tokenizer, record, config)
    except UnusablePairError as unusable:
        return Outcome(record, None, {}, unusable.code)
    return Outcome(record, row, cuts, "too_long" if cuts and config.overlong == "drop" else "")


def _choose_soft_label(record: Record, config: TrainingConfig) -> float:
    if config.soft_labels == "votes" and record.votes:
        return record.votes_for / record.votes
    if config.soft_labels == "smoothed votes" and record.votes:
        return (record.votes_for + 1) / (record.votes + 2)  # Laplace's rule: one vote is no certainty
    if config.soft_labels == "file" and record.soft_label is not None:
        return record.soft_label
    return 1.0


def _choose_weight(record: Record, config: TrainingConfig) -> float:
    if config.pair_weights == "votes":
        return float(max(1, record.votes))
    if config.pair_weights == "agreement" and record.votes:
        return max(0.0, 2 * record.votes_for / record.votes - 1)
    if config.pair_weights == "file" and record.weight is not None:
        return record.weight
    return 1.0


def _read_number(record: dict[str, Any], key: str, default: Any, least: float, most: float) -> Any:
    value = record.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"{key} must be a number")
    if not least <= value <= most:
        raise ValueError(f"{key} must be from {least:g} to {most:g}")
    return value


def _read_count(record: dict[str, Any], key: str, default: Any, *, most: int = MOST_VOTES) -> Any:
    value = _read_number(record, key, default, 0, most)
    if value is not None and value != int(value):
        raise ValueError(f"{key} must be a whole number")
    return None if value is None else int(value)


def hash_file(path: Path) -> str:
    """SHA-256 in hexadecimal; raises ProgramError ``bad_data`` when the file cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ProgramError("bad_data", f"{path} cannot be read: {error.strerror}.") from error


def _number_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Non-blank lines with their numbers from 1; only a line feed ends a line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line


def _read_messages(record: dict[str, Any], key: str) -> list[Message]:
    messages = record.get(key)
    if not isinstance(messages, list):
        raise ValueError(f"{key} must be a list of messages")
    for position, message in enumerate(messages):
        for part in ("role", "content"):
            text = message.get(part) if isinstance(message, dict) else None
            if not isinstance(text, str):
                raise ValueError(f"{key}[{position}].{part} must be text")
            if _HALF_CHARACTER.search(text):
                raise ValueError(f"{key}[{position}].{part} holds half a character (a lone surrogate)")
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def _count_characters(messages: list[Message]) -> int:
    return sum(len(message["content"]) for message in messages)
