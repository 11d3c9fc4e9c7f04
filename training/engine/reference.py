"""The reference's log-probabilities: computed once, before training, and shared by all runs that need the same ones.

The reference is the base itself, so before the first step the policy is the reference and no second model is needed.
The file is named by a key of everything that the numbers depend on: data, model, tokenizer, template and settings.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from models_registry.inference.folders import find_weight_files
from training.engine.batches import Arrangement, Batch
from training.engine.checkpoint import write_tensors
from training.engine.context import Context
from training.engine.data import Row, hash_file
from training.engine.logps import PolicyScorer
from training.engine.methods.base import sum_replies
from training.engine.passes import ReferenceLogps, map_rows

KEPT_FILES = 200
"""The cache forgets the least recently used beyond these; 100,000 pairs take 0.8 MB."""
DIGEST = "sha256"
"""Under this key a file's metadata tell the hash of its numbers: a flipped bit would bend every loss unseen."""
TEXT_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
)


def fingerprint_model(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that decides what the model answers: weights, configuration, tokenizer and template."""
    paths = [*find_weight_files(folder), *(folder / name for name in TEXT_FILES if (folder / name).is_file())]
    return {path.name: hash_file(path) for path in paths}


def make_key(parts: Mapping[str, Any]) -> str:
    """A digest of what the log-probabilities depend on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def load_or_compute_reference(
    context: Context,
    scorer: PolicyScorer,
    splits: Mapping[str, Sequence[Row]],
    arrangement: Arrangement,
    *,
    key: str,
    folder: Path,
) -> dict[str, ReferenceLogps]:
    """Log-probabilities for each split, from ``folder`` if a run with the same key left them there."""
    path = folder / f"{key}.safetensors"
    tensors = _read_cache(path, splits)
    missing = context.any_process(tensors is None)  # another run may have written it between two processes' looks
    if tensors is not None and not missing:
        context.note("The reference's log-probabilities were taken from an earlier run on the same data and model.")
    else:
        tensors = {split: _compute(context, scorer, rows, arrangement) for split, rows in splits.items() if rows}
        if not all(bool(torch.isfinite(column[column == column]).all()) for column in tensors.values()):
            context.note("The base model gives some replies a probability that is no finite number.")
        if context.accelerator.is_local_main_process:  # other machines have a cache of their own
            _write_cache(context, path, tensors)
    return {
        split: [column[: len(row.replies)] for row, column in zip(splits[split], tensor.tolist(), strict=True)]
        for split, tensor in tensors.items()
    }


def _compute(context: Context, scorer: PolicyScorer, rows: Sequence[Row], arrangement: Arrangement) -> Tensor:
    """[rows, most replies of a row]; NaN where a row has fewer replies."""
    most = max(len(row.replies) for row in rows)

    def compute(batch: Batch) -> dict[str, Tensor]:
        table = torch.full((len(batch.margins), most), torch.nan, device=batch.margins.device)
        table[batch.side_rows, batch.side_replies] = sum_replies(scorer(batch), batch)
        return {str(reply): table[:, reply] for reply in range(most)}

    columns = map_rows(context, rows, compute, arrangement, message="Computing reference log-probabilities")
    return torch.stack([columns[str(reply)] for reply in range(most)], dim=1)


def _read_cache(path: Path, splits: Mapping[str, Sequence[Row]]) -> dict[str, Tensor] | None:
    """None unless the file is there, whole, and has a value for each row."""
    try:
        with safe_open(path, framework="pt") as file:
            found = {split: file.get_tensor(split) for split in file.keys()}  # noqa: SIM118 - it is no dict
            sound = (file.metadata() or {}).get(DIGEST) == _hash_tensors(found)
    except (OSError, SafetensorError):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    wanted = {split: len(rows) for split, rows in splits.items() if rows}
    return found if sound and {split: len(column) for split, column in found.items()} == wanted else None


def _write_cache(context: Context, path: Path, tensors: dict[str, Tensor]) -> None:
    """A cache that cannot be written costs the next run time, and this one nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, tensors, {DIGEST: _hash_tensors(tensors)})
        _forget_oldest(path.parent)
    except OSError as error:
        context.note(f"The reference's log-probabilities could not be kept for other runs: {error.strerror}.")


def _hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        column = tensors[name]
        digest.update(f"{name} {column.dtype} {tuple(column.shape)} ".encode())
        digest.update(column.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _forget_oldest(folder: Path) -> None:
    def used_at(path: Path) -> float:
        try:
            return path.stat().st_mtime
        except OSError:  # another run forgot it first
            return 0.0

    for path in sorted(folder.glob("*.safetensors"), key=used_at, reverse=True)[KEPT_FILES:]:
        path.unlink(missing_ok=True)
