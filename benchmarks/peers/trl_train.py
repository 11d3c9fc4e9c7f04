"""Trains one method with the TRL that is installed and prints what it cost, as one JSON line.

    python -m benchmarks.peers.trl_train --method dpo --model MODEL --pairs PAIRS.jsonl --batch 8 --set bf16=false

Counted is ``trainer.train()`` and, where asked for, the reference pass that the constructor makes. Not counted:
imports, loading, tokenizing, checkpoints (none is made). Needs TRL 1.14 or newer and of Plumbline
the meter only.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TQDM_DISABLE"] = "1"

import torch
import transformers
import trl
from datasets import Dataset, disable_progress_bars

from benchmarks.meter import Meter, read_peak_mib, read_resident_mib

GROUP_BY_LENGTH = "group_by_length"
TRAINERS = {
    "sft": ("trl", "SFT"),
    "reward": ("trl", "Reward"),
    "dpo": ("trl", "DPO"),
    "ipo": ("trl", "DPO"),
    "kto": ("trl", "KTO"),
    "orpo": ("trl.experimental.orpo", "ORPO"),
    "cpo": ("trl.experimental.cpo", "CPO"),
    "simpo": ("trl.experimental.cpo", "CPO"),
}
"""Module and class name by method."""


def import_trainer(method: str) -> tuple[Any, Any]:
    """The configuration and the trainer class of ``method``."""
    module, name = TRAINERS[method]
    library = importlib.import_module(module)
    return getattr(library, f"{name}Config"), getattr(library, f"{name}Trainer")


def read_dataset(path: Path, tokenizer: Any, *, by_length: bool) -> Dataset:
    """The pairs; with ``by_length`` also the tokens of the longer side, which the sampler groups by."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if by_length:
        for row in rows:
            sides = (tokenizer.apply_chat_template(row["prompt"] + row[side]) for side in ("chosen", "rejected"))
            row["length"] = max(len(getattr(side, "input_ids", side)) for side in sides)
    return Dataset.from_list(rows)


def count_tokens(dataset: Dataset) -> int:
    """Tokens of all sequences as the trainer holds them: each pair is two sequences."""
    columns = set(dataset.column_names)
    if "chosen_input_ids" in columns:  # ORPO: whole sequences
        return sum(len(row["chosen_input_ids"]) + len(row["rejected_input_ids"]) for row in dataset)
    prompts = sum(2 * len(row["prompt_ids"]) for row in dataset) if "prompt_ids" in columns else 0
    return prompts + sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in dataset)


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Trains one epoch; returns what it cost."""
    settings: dict[str, Any] = dict(pair.split("=", 1) for pair in options.set)
    settings = {name: json.loads(value) for name, value in settings.items()}
    if settings.pop(GROUP_BY_LENGTH, False):
        settings |= {"train_sampling_strategy": GROUP_BY_LENGTH, "remove_unused_columns": False}
    config_class, trainer_class = import_trainer(options.method)
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
    dataset = read_dataset(options.pairs, tokenizer, by_length="train_sampling_strategy" in settings)

    meter = Meter()
    precompute = getattr(trainer_class, "_precompute_ref_logps", None)
    if precompute is not None:

        def metered(*args: Any, **kwargs: Any) -> Any:
            with meter:
                return precompute(*args, **kwargs)

        trainer_class._precompute_ref_logps = metered
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_class(
            model=options.model,
            args=config_class(
                output_dir=folder,
                per_device_train_batch_size=options.batch,
                num_train_epochs=1,
                max_length=options.max_length,
                use_cpu=not torch.cuda.is_available(),
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
                **settings,
            ),
            train_dataset=dataset,
            processing_class=tokenizer,
        )
        before = read_resident_mib()
        with meter:
            trainer.train()
    return {
        "system": f"TRL {trl.__version__}",
        "pairs": len(trainer.train_dataset),
        "tokens": count_tokens(trainer.train_dataset),
        "cpu_s": meter.cpu_s,
        "system_s": meter.system_s,
        "wall_s": meter.wall_s,
        "peak_mib": read_peak_mib(),
        "before_mib": before,
        "losses": [round(entry["loss"], 4) for entry in trainer.state.log_history if "loss" in entry],
        "dtype": str(next(trainer.model.parameters()).dtype).removeprefix("torch."),
        "settings": settings,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--method", choices=("dpo", "orpo", "reward"), required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=1024)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=JSON", help="settings of the trainer's config")
    options = parser.parse_args(arguments)
    disable_progress_bars()
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    print(json.dumps(train(options)))


if __name__ == "__main__":
    main(sys.argv[1:])
