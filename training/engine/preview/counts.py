"""What a preview counts while the file is read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedTokenizerBase

from models_registry.inference.control_tokens import ControlTokens, find_control_tokens
from training.engine.config import TrainingConfig
from training.engine.data import Outcome, Record, Row
from training.engine.methods.base import Method
from training.engine.preview.states import MASKED, READ, TRAINED, UNUSED, encode_whole, list_spans

USUAL_LIMITS = (512, 1024, 2048)
LINES_NAMED = 5
FIRST_BIN = 16


@dataclass
class Found:
    """Rows of which something is true, and the lines of the first few."""

    rows: int = 0
    count: int = 0
    lines: list[int] = field(default_factory=list)

    def add(self, line: int, count: int = 1) -> None:
        self.rows += 1
        self.count += count
        if len(self.lines) < LINES_NAMED:
            self.lines.append(line)


@dataclass
class Sizes:
    """Tokens of the rows that are used, as they are used: sums by part, and the largest of one row."""

    prompt: int = 0
    chosen: int = 0
    rejected: int = 0
    longest: int = 0
    """Of one sequence."""
    largest: int = 0
    """Of a prompt with all its replies."""

    def add(self, row: Row) -> None:
        self.prompt += len(row.prompt)
        for reply, wanted in zip(row.replies, row.labels, strict=True):
            if wanted:
                self.chosen += len(reply)
            else:
                self.rejected += len(reply)
        self.longest = max(self.longest, row.length)
        self.largest = max(self.largest, len(row.prompt) + sum(map(len, row.replies)))


class Census:
    """Counts while the file is read."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, config: TrainingConfig, method: Method, wanted: range
    ) -> None:
        self._tokenizer, self._method = tokenizer, method
        self._config, self._wanted = config, wanted
        self._control = find_control_tokens(tokenizer)
        self._used = 0
        self._tokens: Counter[str] = Counter()
        self._cut: Counter[str] = Counter()
        self._lengths: dict[str, list[int]] = {"prompt": [], "chosen": [], "rejected": [], "longest": []}
        self._sizes = Sizes()
        self._dropped: dict[str, Found] = {}
        self._moved, self._cut_rows = Found(), Found()
        self._control_strings: dict[str, Found] = {}
        self.examples: list[Outcome] = []
        self.cut_examples: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        """Takes one record in; for ``load_dataset``."""
        line = outcome.record.line
        for text, count in count_control_strings(self._control, outcome.record).items():
            self._control_strings.setdefault(text, Found()).add(line, count)
        self._measure(outcome)
        if outcome.row is None or outcome.dropped:
            self._dropped.setdefault(outcome.dropped, Found()).add(line)
            return
        if outcome.row.boundary_moved:
            self._moved.add(line, outcome.row.boundary_moved)
        self._sizes.add(outcome.row)
        for spans in list_spans(outcome.row, self._method).values():
            for state, size in spans:
                self._tokens[state] += size
        if outcome.cuts:
            self._cut.update(outcome.cuts)
            self._cut_rows.add(line)
        if self._used in self._wanted:
            self.examples.append(outcome)
        elif outcome.cuts and not self.cut_examples:
            self.cut_examples.append(outcome)
        self._used += 1

    def _measure(self, outcome: Outcome) -> None:
        """Lengths before anything is cut, also of what is left out for its length."""
        sizes = measure_uncut(self._tokenizer, outcome, self._config)
        for name, size in sizes.items():
            self._lengths[name].append(size)

    def describe(self) -> dict[str, Any]:
        """What was counted, as JSON."""
        longest = self._lengths["longest"]
        return {
            "dropped": _list_found(self._dropped),
            "cut": vars(self._cut_rows) | {"tokens": dict(self._cut)},
            "tokens": {
                "total": self._tokens.total() - self._tokens[UNUSED],
                "trained": self._tokens[TRAINED],
                "masked": self._tokens[MASKED],
                "read": self._tokens[READ],
            },
            "sizes": vars(self._sizes),
            "lengths": {name: describe_lengths(sizes) for name, sizes in self._lengths.items() if sizes},
            "longer_than": {str(limit): sum(size > limit for size in longest) for limit in USUAL_LIMITS},
            "boundary_moved": vars(self._moved),
            "control_strings": _list_found(self._control_strings),
        }


def count_control_strings(control: ControlTokens, record: Record) -> Counter[str]:
    """What spells a control token within the messages; it is learned as ordinary text (see control_tokens.py)."""
    found: Counter[str] = Counter()
    for message in [*record.prompt, *(message for reply in record.replies for message in reply)]:
        pattern = control.in_replies if message["role"] == "assistant" else control.elsewhere
        found.update(pattern.findall(message["content"]))
    return found


def measure_uncut(tokenizer: PreTrainedTokenizerBase, outcome: Outcome, config: TrainingConfig) -> dict[str, int]:
    """Tokens of prompt, replies and longest sequence before anything is cut; empty where a record cannot be encoded."""
    if outcome.row is None and outcome.dropped not in ("prompt_fills_length", "identical_when_cut"):
        return {}
    row, cuts = outcome.row, outcome.cuts
    if row is None:
        row, cuts = encode_whole(tokenizer, outcome.record, config), {}
    if row is None:
        return {}
    names = ["chosen" if label else "rejected" for label in row.labels]
    sizes = {"prompt": len(row.prompt)} | {name: len(ids) for name, ids in zip(names, row.replies, strict=True)}
    sizes = {name: size + cuts.get(name, 0) for name, size in sizes.items()}
    return sizes | {"longest": sizes["prompt"] + max(sizes[name] for name in names)}


def describe_lengths(sizes: Sequence[int]) -> dict[str, Any]:
    """Quantiles by nearest rank, and a histogram whose bins end at powers of two."""
    ordered = sorted(sizes)
    quantiles = {
        name: ordered[max(0, math.ceil(share * len(ordered)) - 1)]
        for name, share in (("min", 0.0), ("median", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    }
    bins = Counter(max(FIRST_BIN, 1 << (size - 1).bit_length()) if size else FIRST_BIN for size in ordered)
    edges = [1 << power for power in range(min(bins).bit_length() - 1, max(bins).bit_length())]
    return quantiles | {"histogram": [{"up_to": edge, "rows": bins[edge]} for edge in edges]}


def _list_found(found: dict[str, Found]) -> list[dict[str, Any]]:
    """The most frequent first."""
    return [{"name": name, **vars(item)} for name, item in sorted(found.items(), key=lambda entry: -entry[1].rows)]
