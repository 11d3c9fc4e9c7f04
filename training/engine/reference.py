"""The reference's log-probabilities: computed once, before training, and kept in the run folder.

The reference is the base itself, so before the first step the policy is the reference and no second model is needed.
The file carries a key of everything that the numbers depend on; with any other key it is computed anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from models_registry.inference.folders import find_weight_files
from training.engine.batches import Batch
from training.engine.checkpoint import write_tensors
from training.engine.context import Context
from training.engine.data import Row, hash_file
from training.engine.logps import PolicyScorer, sum_completions
from training.engine.passes import ReferenceLogps, map_rows

FILE_NAME = "reference.safetensors"
SIDES = ("chosen", "rejected")
TEXT_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
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
    *,
    key: str,
    folders: Sequence[Path],
) -> dict[str, ReferenceLogps]:
    """Log-probabilities for each split. A file with the same key is looked for in ``folders``; the first has it then.

    An attempt looks into the one before it only, so what is found there is written here for the next one.
    """
    for folder in folders:
        cached = _read_cache(folder / FILE_NAME, key, splits)
        if cached is not None:
            context.print(f"Reference log-probabilities taken from {folder / FILE_NAME}.")
            if folder != folders[0] and context.accelerator.is_main_process:
                write_tensors(folders[0] / FILE_NAME, cached, {"key": key})
            return _by_split(cached, splits)

    def compute(batch: Batch) -> dict[str, Tensor]:
        chosen, rejected = sum_completions(scorer(batch), batch)
        return {"chosen": chosen, "rejected": rejected}

    tensors: dict[str, Tensor] = {}
    for split, rows in splits.items():
        columns = map_rows(context, rows, compute, message="Computing reference log-probabilities")
        tensors |= {f"{split}/{side}": column for side, column in columns.items()}
    if not all(bool(torch.isfinite(column).all()) for column in tensors.values()):
        context.note("The base model gives some replies a probability that is no finite number.")
    if context.accelerator.is_main_process:
        write_tensors(folders[0] / FILE_NAME, tensors, {"key": key})
    return _by_split(tensors, splits)


def _read_cache(path: Path, key: str, splits: Mapping[str, Sequence[Row]]) -> dict[str, Tensor] | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("key") != key:
                return None
            return {f"{split}/{side}": file.get_tensor(f"{split}/{side}") for split in splits for side in SIDES}
    except (SafetensorError, KeyError):
        return None


def _by_split(tensors: Mapping[str, Tensor], splits: Mapping[str, Sequence[Row]]) -> dict[str, ReferenceLogps]:
    return {split: (tensors[f"{split}/chosen"].tolist(), tensors[f"{split}/rejected"].tolist()) for split in splits}
