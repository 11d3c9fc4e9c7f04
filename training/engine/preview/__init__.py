"""Shows what a run would train on, token by token, before it is launched.

By hand: ``python -m training.engine.preview RUN_DIR`` (see __main__.py).

Every row comes from the function that training calls, so the numbers are those of the run's own ``result.json``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models_registry.inference.load import load_tokenizer  # before anything of transformers: offline

# isort: split
from transformers import PreTrainedTokenizerBase

from models_registry.inference.folders import check_model_folder
from models_registry.inference.program import ProgramError
from training.engine.config import TrainingConfig
from training.engine.data import Dataset, fit_lengths, load_dataset, pair_with_strangers, require_rows
from training.engine.methods import make_method
from training.engine.methods.base import Method
from training.engine.preview.counts import Census
from training.engine.preview.examples import ExampleWriter
from training.engine.spec import RunSpec


def preview(
    path: Path,
    tokenizer: PreTrainedTokenizerBase,
    config: TrainingConfig,
    *,
    examples: int = 5,
    start: int = 0,
    sha256: str = "",
) -> dict[str, Any]:
    """Counts for the whole file and, token by token, ``examples`` of its used rows from the row ``start`` on; JSON.

    ``config`` is taken as it is: fit its lengths to the model before (``fit_lengths``). Raises ProgramError
    ``bad_data``; a file of which nothing can be used is no error, but said in ``problem``.
    """
    method = make_method(config)
    census = Census(tokenizer, config, method, range(start, start + examples))
    dataset = load_dataset(path, tokenizer, config, sha256, census.add)
    writer = ExampleWriter(tokenizer, config, method)
    return {
        "method": config.method,
        "limits": {
            "max_length": config.max_length,
            "prompt_limit": config.prompt_limit,
            "overlong": config.overlong,
        },
        "data": dataset.count(),
        "problem": _find_problem(dataset, path, method, config),
        **census.describe(),
        "start": start,
        "examples": [writer.write(outcome) for outcome in census.examples],
        "cut_examples": [writer.write(outcome) for outcome in census.cut_examples],
    }


def preview_run(spec: RunSpec, *, examples: int, start: int = 0) -> dict[str, Any]:
    """The preview of the run that ``spec`` describes; ``held_out`` counts its evaluation file. Raises ProgramError."""
    facts = check_model_folder(spec.model)
    tokenizer = load_tokenizer(spec.model)
    config = fit_lengths(spec.config, facts.context_length)
    result = preview(spec.train_file, tokenizer, config, examples=examples, start=start, sha256=spec.train_sha256)
    result["limits"]["asked"] = spec.config.max_length
    result["held_out"] = load_dataset(spec.eval_file, tokenizer, config).count() if spec.eval_file else None
    return result


def _find_problem(dataset: Dataset, path: Path, method: Method, config: TrainingConfig) -> str:
    """Why a run on this file would fail; empty where it would not."""
    try:
        require_rows(dataset, path)
        if method.needs_kl:
            pair_with_strangers(dataset.rows, config.seed)
    except ProgramError as error:
        return str(error)
    return ""
