"""Reads exported comparisons (JSON Lines, one pair a line) and turns them into token ids.

    {"prompt": [{"role": "user", "content": "…"}], "chosen": [{"role": "assistant", "content": "…"}], "rejected": […],
     "margin": null, "grade": "slightly", "votes": 2, "comparison_id": 7, "prompt_id": 3}

Other keys are ignored. A line that is no such pair fails the run with its number and the reason; a pair that is well
formed but cannot be trained on (identical sides, too long) is left out and counted.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from models_registry.inference.chat import EncodedPair, UnusablePairError, encode_pair
from models_registry.inference.program import ProgramError
from training.engine.config import GRADES, TrainingConfig

Message = dict[str, str]
MAX_REPORTED = 5


@dataclass(frozen=True)
class Pair:
    """One comparison as exported."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    grade: str | None


@dataclass(frozen=True)
class Row:
    """One comparison ready for training."""

    pair: EncodedPair
    margin: float
    grade: str | None
    length_gap: int
    """Characters by which the chosen reply is longer than the rejected one."""


@dataclass
class Dataset:
    """Rows in the order of the file, and what became of the others."""

    rows: list[Row]
    sha256: str
    read: int
    dropped: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)

    def count(self) -> dict[str, Any]:
        """For the result: how many were read, used, cut (and where) and left out (and why)."""
        return {
            "read": self.read,
            "used": len(self.rows),
            "truncated": dict(self.cut),
            "dropped": dict(self.dropped),
            "sha256": self.sha256,
        }


def load_dataset(path: Path, tokenizer: PreTrainedTokenizerBase, config: TrainingConfig, sha256: str = "") -> Dataset:
    """Reads and encodes a file, which must have the digest ``sha256`` if one is given.

    Raises ProgramError ``bad_data``.
    """
    digest = hash_file(path)
    if sha256 and digest != sha256:
        raise ProgramError("bad_data", f"{path.name} is not the file this run was made for: its SHA-256 is {digest}.")
    pairs = read_pairs(path)
    dataset = Dataset(rows=[], sha256=digest, read=len(pairs))
    for pair in pairs:
        try:
            row = encode_row(tokenizer, pair, config)
        except UnusablePairError as unusable:
            dataset.dropped[unusable.code] += 1
            continue
        encoded = row.pair
        if encoded.is_cut and config.overlong == "drop":
            dataset.dropped["too_long"] += 1
            continue
        cuts = {
            "prompt": encoded.prompt_cut,
            "chosen": encoded.chosen_cut,
            "rejected": encoded.rejected_cut,
            "any": encoded.is_cut,
        }
        dataset.cut.update(name for name, cut in cuts.items() if cut)
        dataset.rows.append(row)
    return dataset


def require_rows(dataset: Dataset, path: Path) -> None:
    """Raises ProgramError ``no_data``, with the reasons, when nothing usable is left."""
    if not dataset.rows:
        reasons = ", ".join(f"{count} × {code}" for code, count in dataset.dropped.items()) or "the file is empty"
        raise ProgramError("no_data", f"{path.name} holds no pair to train on: {reasons}.")


def encode_row(tokenizer: PreTrainedTokenizerBase, pair: Pair, config: TrainingConfig) -> Row:
    """Encodes one pair; raises UnusablePairError."""
    encoded = encode_pair(tokenizer, pair.prompt, pair.chosen, pair.rejected, config.max_length, config.prompt_limit)
    gap = _count_characters(pair.chosen) - _count_characters(pair.rejected)
    return Row(pair=encoded, margin=config.margin_of(pair.grade), grade=pair.grade, length_gap=gap)


def read_pairs(path: Path) -> list[Pair]:
    """All pairs of the file. Raises ProgramError ``bad_data`` naming the first bad lines and their reasons."""
    pairs: list[Pair] = []
    problems: list[str] = []
    for number, line in _number_lines(path):
        try:
            pairs.append(parse_pair(line))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if problems:
        more = f" (and {len(problems) - MAX_REPORTED} more)" if len(problems) > MAX_REPORTED else ""
        raise ProgramError("bad_data", f"{path.name}: {'; '.join(problems[:MAX_REPORTED])}{more}")
    return pairs


def parse_pair(line: bytes) -> Pair:
    """One line as a pair. Raises ValueError with the field and the reason."""
    try:
        record = json.loads(line)
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 ({error.reason})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no valid JSON ({error})") from error
    if not isinstance(record, dict):
        raise ValueError("must be a JSON object")
    grade = record.get("grade")
    if grade is not None and grade not in GRADES:
        raise ValueError(f"grade must be one of {', '.join(GRADES)} or null")
    return Pair(
        prompt=_read_messages(record, "prompt"),
        chosen=_read_messages(record, "chosen"),
        rejected=_read_messages(record, "rejected"),
        grade=grade,
    )


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
            if not isinstance(message, dict) or not isinstance(message.get(part), str):
                raise ValueError(f"{key}[{position}].{part} must be text")
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def _count_characters(messages: list[Message]) -> int:
    return sum(len(message["content"]) for message in messages)
