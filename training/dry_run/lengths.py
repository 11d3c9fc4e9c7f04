"""How many rows a run would use and how long they are.

From a token preview, which counts them; else from the characters of the file; else the limit for every row.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from annotate.models import DatasetVersion
from models_registry.models import ModelVersion, WorkState
from training.engine.config import TrainingConfig
from training.models import TokenPreview

COUNTED, LIKE, CHARACTERS, LIMIT = "preview", "other preview", "characters", "limit"
"""Counted for these very settings; counted for other lengths; guessed; the most that is possible."""
_MESSAGE_TOKENS = 5
"""What a chat template puts around a message: role, line ends and marks of ChatML."""
_SAMPLE_BYTES = 2_000_000
_SAMPLE_PLACES = 50
_BY_LENGTH = ("too_long", "identical_when_cut", "prompt_fills_length")
"""Reasons to leave a row out that depend on the limits."""


@dataclass(frozen=True)
class Lengths:
    """Means a row in tokens, after cutting, and the largest row; ``longest`` is one sequence, ``largest`` all of it."""

    source: str
    rows: int
    eval_rows: int
    prompt: float
    chosen: float
    rejected: float
    longest: int
    largest: int

    @property
    def is_exact(self) -> bool:
        """Whether so many rows will be used, and no other number."""
        return self.source == COUNTED

    @property
    def row_tokens(self) -> float:
        """Of all sequences, each with its prompt: what a run's own count of tokens says."""
        return self.prompt * (2 if self.rejected else 1) + self.chosen + self.rejected


def find_lengths(
    version: DatasetVersion, base: ModelVersion, config: TrainingConfig, context_length: int | None
) -> Lengths:
    """The best that is known."""
    limits = _fit_limits(config, context_length)
    for number in _list_previews(version, base, config):
        result = TokenPreview.objects.values_list("result", flat=True).get(pk=number)
        found = read_counted(result, limits) or _read_quantiles(result, limits["max_length"], config.overlong)
        if found:
            return found
    sampled = _sample(version.train_path, version.train_sha256)
    rows, eval_rows, limit = version.train_rows, version.eval_rows, int(limits["max_length"])
    if not sampled:
        prompt, reply = limit / 2, limit / 2
        return Lengths(LIMIT, rows, eval_rows, prompt, reply, reply, limit, limit + limit // 2)
    return _cut(replace(sampled, rows=rows, eval_rows=eval_rows), limit)


def _list_previews(version: DatasetVersion, base: ModelVersion, config: TrainingConfig) -> list[int]:
    """The two that are most like, by their numbers: results are large, so no more are read."""
    made = TokenPreview.objects.filter(dataset_version=version, base_model=base, state=WorkState.FINISHED)
    wanted = [config.method, config.max_length, config.prompt_limit, config.overlong]

    def count_differences(row: tuple[int, str, dict[str, Any]]) -> tuple[int, int]:
        number, method, values = row
        length = values.get("max_length", 0)
        prompt = values.get("max_prompt_length") or length // 2
        given = [method, length, prompt, values.get("overlong")]
        same_limits = given[1:] == wanted[1:]
        return (0 if same_limits else 2) + (given[0] != wanted[0]), -number

    rows = made.order_by("-pk").values_list("pk", "method", "config")[:50]
    return [row[0] for row in sorted(rows, key=count_differences)[:2]]


def _fit_limits(config: TrainingConfig, context_length: int | None) -> dict[str, Any]:
    """As the engine's fit_lengths has them and a preview files them."""
    limit, prompt = config.max_length, config.prompt_limit
    if context_length is not None and limit > context_length:
        limit, prompt = context_length, min(prompt, context_length // 2)
    return {"max_length": limit, "prompt_limit": prompt, "overlong": config.overlong}


def read_counted(result: Mapping[str, Any], limits: Mapping[str, Any]) -> Lengths | None:
    """Of a preview with the same limits; older ones did not file sizes."""
    sizes, given = result.get("sizes"), result.get("limits", {})
    if not sizes or any(given.get(name) != value for name, value in limits.items()):
        return None
    used = int(result["data"]["used"])
    if not used:
        return None
    means = {name: sizes[name] / used for name in ("prompt", "chosen", "rejected")}
    held_out = (result.get("held_out") or {}).get("used", 0)
    return Lengths(COUNTED, used, held_out, **means, longest=sizes["longest"], largest=sizes["largest"])


def _read_quantiles(result: Mapping[str, Any], limit: int, overlong: str) -> Lengths | None:
    """Of a preview with other limits: its lengths are those before anything was cut."""
    lengths = result.get("lengths") or {}
    if "longest" not in lengths or "prompt" not in lengths:
        return None
    dropped = sum(item["rows"] for item in result.get("dropped", ()) if item["name"] not in _BY_LENGTH)
    rows = int(result["data"]["read"]) - dropped
    bins = lengths["longest"]["histogram"]
    if overlong == "drop":
        rows -= sum(entry["rows"] for entry in bins if entry["up_to"] > limit) * (lengths["longest"]["max"] > limit)
    means = {name: _average(lengths[name]) if name in lengths else 0.0 for name in ("prompt", "chosen", "rejected")}
    replies = [lengths[name]["max"] for name in ("chosen", "rejected") if name in lengths]
    longest = int(lengths["longest"]["max"])
    held_out = (result.get("held_out") or {}).get("used", 0)
    whole = longest + (min(replies) if len(replies) == 2 else 0)
    return _cut(Lengths(LIKE, max(1, rows), held_out, **means, longest=longest, largest=whole), limit)


def _average(quantiles: Mapping[str, Any]) -> float:
    """Of a histogram whose bins end at powers of two: three quarters of each bin's end, and nothing above the most."""
    bins, most = quantiles["histogram"], quantiles["max"]
    rows = sum(entry["rows"] for entry in bins) or 1
    return float(sum(entry["rows"] * min(0.75 * entry["up_to"], most) for entry in bins) / rows)


def _cut(lengths: Lengths, limit: int) -> Lengths:
    """Lengths of uncut rows brought below the limit."""
    longest = min(lengths.longest, limit)
    longer = lengths.prompt + max(lengths.chosen, lengths.rejected)
    share = min(1.0, limit / longer) if longer else 1.0
    return replace(
        lengths,
        prompt=share * lengths.prompt,
        chosen=share * lengths.chosen,
        rejected=share * lengths.rejected,
        longest=longest,
        largest=min(lengths.largest, 2 * longest),
    )


@lru_cache(maxsize=64)
def _sample(path: Path, _sha256: str) -> Lengths | None:
    """Guessed from up to 2 MB of the file, taken at even distances; None where it is not on this machine.

    A file that is not read as a whole may hold longer rows than were seen, so its longest count as without end.
    """
    try:
        lines, whole = _read_lines(path)
        rows = [sizes for sizes in map(_measure, lines) if sizes]
    except OSError:
        return None
    if not rows:
        return None
    prompt, chosen, rejected = (sum(row[part] for row in rows) / len(rows) for part in range(3))
    longest = max(row[0] + max(row[1:]) for row in rows) if whole else 2**30
    largest = max(map(sum, rows)) if whole else 2**31
    return Lengths(CHARACTERS, len(rows), 0, prompt, chosen, rejected, longest, largest)


def _read_lines(path: Path) -> tuple[list[bytes], bool]:
    """Lines, and whether they are all."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _SAMPLE_BYTES:
            return file.read().splitlines(), True
        lines: list[bytes] = []
        for place in range(_SAMPLE_PLACES):
            file.seek(place * size // _SAMPLE_PLACES, os.SEEK_SET)
            block = file.read(_SAMPLE_BYTES // _SAMPLE_PLACES)
            lines += block.split(b"\n")[1 if place else 0 : -1]  # the first and the last may be parts
        return lines, False


def _measure(line: bytes) -> tuple[int, int, int] | None:
    """Tokens of prompt, chosen and rejected reply, guessed; None for what is no record."""
    try:
        record = json.loads(line)
        sides = [record["prompt"]]
        if "completion" in record:
            sides += [record["completion"], []]
        else:
            sides += [record["chosen"], record["rejected"]]
        prompt, chosen, rejected = (
            sum(count_tokens(message["content"]) + _MESSAGE_TOKENS for message in side) for side in sides
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return prompt, chosen, rejected


def count_tokens(text: str) -> int:
    """A guess: four characters of ASCII a token, which is the usual rule for English, and one for each other one."""
    ascii_only = len(text.encode("ascii", "ignore"))
    return -(-ascii_only // 4) + len(text) - ascii_only
