"""Trains one method with Plumbline's engine and prints what it cost, as one JSON line; the counterpart of trl_train.

    python -m benchmarks.ours --method dpo --model MODEL --pairs PAIRS.jsonl --batch 8 --set precision='"bf16"'

Counted are the reference pass and the training loop. Not counted: imports, loading, tokenizing, the last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from models_registry.inference.program import Program
from training.engine import run

# isort: split
import torch

from benchmarks.meter import Meter, read_peak_mib, read_resident_mib


def train(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Trains one epoch in ``folder``; returns what it cost."""
    settings = dict(pair.split("=", 1) for pair in options.set)
    values = {
        "batch_size": options.batch,
        "gradient_accumulation": 1,
        "max_length": options.max_length,
        "epochs": 1,
        "eval_steps": 0,
        "save_steps": 0,
        "logging_steps": 10,
        **{name: json.loads(value) for name, value in settings.items()},
    }
    config = {"method": options.method, "model": options.model, "train_file": str(options.pairs), "values": values}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")

    meter = Meter()
    module: Any = run
    compute_reference = module.load_or_compute_reference

    def metered(*args: Any, **kwargs: Any) -> Any:
        with meter:
            return compute_reference(*args, **kwargs)

    module.load_or_compute_reference = metered
    prepared = run.prepare(Program(folder))
    reference_cpu_s = meter.cpu_s
    prepared.trainer._save = lambda: None  # type: ignore[method-assign]  # the last step saves; the peers save nothing
    before = read_resident_mib()
    with meter:
        progress = prepared.trainer.train()
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "system": "Plumbline",
        "pairs": progress.pairs,
        "tokens": progress.tokens,
        "cpu_s": meter.cpu_s,
        "system_s": meter.system_s,
        "wall_s": meter.wall_s,
        "reference_cpu_s": reference_cpu_s,
        "peak_mib": read_peak_mib(),
        "before_mib": before,
        "losses": [round(line["loss"], 4) for line in metrics if "loss" in line],
        "settings": values,
        "torch": torch.__version__,
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--method", required=True)
    parser.add_argument("--model", type=lambda text: str(Path(text).resolve()), required=True)
    parser.add_argument("--pairs", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=1024)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=JSON", help="settings of the run")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(train(options, Path(folder))))


if __name__ == "__main__":
    main(sys.argv[1:])
