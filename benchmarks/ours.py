"""Trains one method with Plumbline's engine and prints what it cost, as one JSON line; the counterpart of trl_train.

    python -m benchmarks.ours --method dpo --model MODEL --pairs PAIRS.jsonl --batch 8 --set precision='"bf16"'

Counted are the reference pass and the training loop. Not counted: imports, loading, tokenizing, the last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_registry.inference.program import Program
from training.engine import head, run
from training.engine.attention import TREES
from training.engine.batches import Batch

# isort: split
import torch

from benchmarks.meter import Meter, read_peak_mib, read_resident_mib


@dataclass
class Work:
    """Adds up the arithmetic of all forward passes, as computed: padding included, shared prompts once.

    With P weights without embeddings, L layers of width H and a vocabulary of V, a forward pass over rows of T
    positions takes 2·P·T + 4·L·H·T² operations a row and 2·V·H for each position whose token is scored; a backward
    pass takes twice that. Where trees attend to themselves alone, a tree of T tokens takes the place of the row. What
    checkpointing computes again is no work.
    """

    body: int = 0
    layers: int = 0
    width: int = 0
    vocabulary: int = 0
    operations: float = 0.0
    model: Any = None

    def watch(self, scorer: Any) -> None:
        """Counts every forward pass of ``scorer`` from now on."""
        self.model = scorer.model
        config = scorer.model.config.get_text_config()
        embeddings = {id(layer.weight) for layer in _list_embeddings(scorer.model)}
        self.body = sum(weight.numel() for weight in scorer.parameters() if id(weight) not in embeddings)
        self.layers, self.width, self.vocabulary = config.num_hidden_layers, config.hidden_size, config.vocab_size
        self.scores_tokens = not hasattr(scorer.model, "score")
        scorer.register_forward_pre_hook(self._count)

    def _count(self, _scorer: Any, inputs: tuple[Batch]) -> None:
        rows, length = inputs[0].input_ids.shape
        trees = inputs[0].trees
        sizes = [length] * rows
        if self.model.config._attn_implementation == TREES and trees is not None:
            sizes = torch.bincount(trees[trees >= 0]).tolist()
        operations = 2 * self.body * rows * length + 4 * self.layers * self.width * sum(size**2 for size in sizes)
        if self.scores_tokens:
            operations += 2 * self.vocabulary * self.width * len(inputs[0].wanted)
        self.operations += operations * (3 if torch.is_grad_enabled() else 1)


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
    if options.reference_cache:
        config["reference_cache"] = options.reference_cache
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if options.plain_head:
        head._is_one_matrix = lambda *_arguments: False

    meter, work = Meter(), Work()
    module: Any = run
    compute_reference, make_scorer = module.load_or_compute_reference, module.make_scorer

    def metered(*args: Any, **kwargs: Any) -> Any:
        with meter:
            return compute_reference(*args, **kwargs)

    def watched(*args: Any, **kwargs: Any) -> Any:
        scorer, arrangement = make_scorer(*args, **kwargs)
        if options.full_head:
            scorer.reads_hidden_states = False
        work.watch(scorer)
        return scorer, arrangement

    module.load_or_compute_reference, module.make_scorer = metered, watched
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
        "operations": work.operations,
        "peak_mib": read_peak_mib(),
        "before_mib": before,
        "losses": [round(line["loss"], 4) for line in metrics if "loss" in line],
        "settings": prepared.context.config.to_dict(),
        "torch": torch.__version__,
    }


def _list_embeddings(model: Any) -> list[Any]:
    return [layer for layer in (model.get_input_embeddings(), model.get_output_embeddings()) if layer is not None]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--method", required=True)
    parser.add_argument("--model", type=lambda text: str(Path(text).resolve()), required=True)
    parser.add_argument("--pairs", type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--max-length", type=int, default=1024)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=JSON", help="settings of the run")
    parser.add_argument("--full-head", action="store_true", help="the head at every position")
    parser.add_argument("--plain-head", action="store_true", help="the head without its own backward pass")
    parser.add_argument(
        "--reference-cache", type=lambda text: str(Path(text).resolve()), help="folder kept between runs"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(train(options, Path(folder))))


if __name__ == "__main__":
    main(sys.argv[1:])
