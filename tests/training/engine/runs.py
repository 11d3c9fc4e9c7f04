"""Run folders and pairs for the engine's tests."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from hypothesis import settings
from safetensors.torch import load_file

from models_registry.inference.program import Program
from training.engine.config import TrainingConfig
from training.engine.data import Row, encode_row, parse_record

GOOD = "The capital of France is Paris."
BAD = "I am sorry, I do not know."
repeatable = settings(derandomize=True, max_examples=40)
"""For property tests: the same examples in every session, however busy the machine."""
SPEC_KEYS = ("resume_from", "train_sha256", "name", "model_name", "licence", "reference_cache")
GRADES = ("significantly", "slightly", "negligibly", "unsure", None)


def make_record(prompt: str, chosen: str, rejected: str, grade: str | None = None, **extra: Any) -> dict[str, Any]:
    """One line of an export."""
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
        "margin": None,
        "grade": grade,
        "votes": 1,
        "comparison_id": 1,
        "prompt_id": 1,
        **extra,
    }


def make_single(prompt: str, completion: str, *, label: bool = True, **extra: Any) -> dict[str, Any]:
    """One line with a single reply, as SFT and KTO read it."""
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": completion}],
        "label": label,
        **extra,
    }


def make_separable_records(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Pairs that a model can learn to tell apart: chosen replies share words that rejected ones lack. Lengths vary."""
    rng = random.Random(seed)
    records = []
    for index in range(count):
        prompt = f"Question {index}: what is the answer{' please' * rng.randrange(6)}?"
        chosen = " ".join([GOOD] * rng.randrange(1, 4)) + f" {rng.randrange(100)}"
        rejected = " ".join([BAD] * rng.randrange(1, 4)) + f" {rng.randrange(100)}"
        records.append(make_record(prompt, chosen, rejected, GRADES[index % len(GRADES)], comparison_id=index))
    return records


def write_jsonl(path: Path, records: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def make_run(
    folder: Path,
    method: str,
    model: Path,
    train: Sequence[dict[str, Any]],
    evaluation: Sequence[dict[str, Any]] | None = None,
    **values: Any,
) -> Path:
    """A run folder; ``values`` overlay settings that suit a tiny model. Keys of config.json may be among them."""
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "train.jsonl", train)
    spec: dict[str, Any] = {"method": method, "model": str(model), "train_file": "train.jsonl"}
    if evaluation is not None:
        write_jsonl(folder / "eval.jsonl", evaluation)
        spec["eval_file"] = "eval.jsonl"
    spec |= {key: values.pop(key) for key in SPEC_KEYS if key in values}
    defaults = {"learning_rate": 3e-3, "logging_steps": 1, "eval_steps": 0, "save_steps": 0, "max_length": 256}
    # not auto, which takes what is measured to be fast on this machine
    spec["values"] = {**defaults, "max_prompt_length": 128, "precision": "fp32", **values}
    (folder / "config.json").write_text(json.dumps(spec), encoding="utf-8")
    return folder


def make_row(chosen: int = 2, rejected: int = 2, *, prompt: int = 3, start: int = 3, **fields: Any) -> Row:
    """A pair of so many tokens, counted up from ``start``; without rejected tokens a single reply.

    ``fields`` are the row's others, such as margin.
    """
    ids = list(range(start, start + prompt + chosen + rejected))
    replies = tuple(part for part in (ids[prompt : prompt + chosen], ids[prompt + chosen :]) if part)
    return Row(**{"prompt": ids[:prompt], "replies": replies, "labels": (True, False)[: len(replies)], **fields})


def make_rows(tokenizer: Any, records: Sequence[dict[str, Any]], config: TrainingConfig) -> list[Row]:
    parsed = [parse_record(json.dumps(record).encode(), config) for record in records]
    return [encode_row(tokenizer, record, config)[0] for record in parsed]


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def stop_after(step: int) -> Callable[[Program], None]:
    """The training program, asked to stop (by file) as soon as ``step`` is logged."""
    from training.engine.run import main

    def run(program: Program) -> None:
        log = program.log_metrics

        def log_and_stop(values: dict[str, Any]) -> None:
            log(values)
            if values["step"] == step:
                (program.folder / "stop").write_text("cancelled", encoding="utf-8")

        program.log_metrics = log_and_stop  # type: ignore[method-assign]
        main(program)

    return run


def launch_command(folder: Path) -> list[str]:
    """As a worker starts it."""
    launcher = [sys.executable, "-m", "training.engine.launch", "--cpu", "--mixed_precision=no", "--num_machines=1"]
    return [
        *launcher,
        "--dynamo_backend=no",
        "--num_processes=1",
        "-m",
        "training.engine.run",
        str(folder),
    ]
