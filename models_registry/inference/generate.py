"""Samples responses to prompts, with one or more samplers, into ``JOB_DIR/responses.jsonl``.

    python -m models_registry.inference.generate JOB_DIR

config.json: ``{"prompts": "prompts.jsonl", "samplers": [{"model": "/a/folder", "label": "a", "temperature": 0.9,
"top_p": 0.95, "max_new_tokens": 128, "seed": 1}, ...], "batch_size": 8}``; prompts.jsonl has ``{"id", "messages"}``
lines. responses.jsonl gets one line for each prompt and sampler: ``{"prompt_id", "sampler", "text", "tokens", "finish",
"seed", "seconds"}``, or ``{"prompt_id", "sampler", "error"}`` for a prompt that this model cannot answer.

The batches are cut from the prompts file alone and remade whole after an interruption, so the same job gives the same
texts however often it was interrupted. On a CPU it samples in fp32, where the texts came out the same for every batch
size too; bf16, twice as fast, does not give that.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from models_registry.inference.chat import UnusablePairError, encode_prompt
from models_registry.inference.device import choose_device, find_context_length
from models_registry.inference.job_input import read_config, read_number, read_rows
from models_registry.inference.load import load_policy, load_tokenizer
from models_registry.inference.program import Program, ProgramError
from models_registry.inference.resumable_lines import ResumableLines
from models_registry.inference.sampling import Sample, Sampler, derive_seed, read_sampler, sample_batch

MAX_SAMPLERS = 4
MAX_BATCH_SIZE = 256
DEFAULT_BATCH_SIZE = 8
RESAMPLES = 3
"""So often a response is sampled again, with the next seed, when the prompt already has one with the same text."""


@dataclass(frozen=True)
class Job:
    """The checked config.json and prompts."""

    prompts: list[dict[str, Any]]
    samplers: list[Sampler]
    batch_size: int


@dataclass(frozen=True)
class _Prompt:
    id: str | int
    ids: list[int]
    room: int
    """Tokens of the model's context that the prompt leaves free."""


def read_job(folder: Path) -> Job:
    """The job in ``folder``; ProgramError ``bad_config`` or ``bad_data`` names the field, the line and the reason."""
    config = read_config(folder)
    raw = config.get("samplers")
    if not isinstance(raw, list) or not 1 <= len(raw) <= MAX_SAMPLERS:
        raise ProgramError("bad_config", f"samplers: a list of 1 to {MAX_SAMPLERS} is needed.")
    size = int(read_number(config, "batch_size", DEFAULT_BATCH_SIZE, 1, MAX_BATCH_SIZE, whole=True))
    samplers = [read_sampler(item, f"samplers[{index}]") for index, item in enumerate(raw)]
    prompts = read_rows(folder, config.get("prompts"), "prompts", {"id": str | int, "messages": list})
    return Job(prompts=prompts, samplers=samplers, batch_size=size)


def generate_responses(program: Program) -> None:
    """Does what is still missing of the job; leaves without a result when asked to stop."""
    job = read_job(program.folder)
    log = ResumableLines(program.folder / "responses.jsonl", ("prompt_id", "sampler"))
    progress = _Progress(program, job, log)
    progress.report("Loading the model")
    for folder in dict.fromkeys(sampler.model for sampler in job.samplers):
        indices = [index for index, sampler in enumerate(job.samplers) if sampler.model == folder]
        if all((row["id"], index) in log.rows for row in job.prompts for index in indices):
            continue
        _answer_with_model(program, job, indices, log, progress)
        gc.collect()  # before the next model is loaded
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if program.stop_reason:
            return
    program.write_result(progress.summarise())


def _answer_with_model(
    program: Program, job: Job, indices: list[int], log: ResumableLines, progress: _Progress
) -> None:
    """All responses of the samplers ``indices``, which share one model; the prompts go in batches, in their order."""
    folder = job.samplers[indices[0]].model
    tokenizer = load_tokenizer(folder)
    device, dtype = choose_device()
    model = load_policy(folder, dtype).to(device)  # type: ignore[arg-type]
    prompts = _encode_prompts(job, tokenizer, model, indices, log)
    for start in range(0, len(prompts), job.batch_size):
        for index in indices:
            sampler = job.samplers[index]
            for length, batch in _split_by_length(prompts[start : start + job.batch_size], sampler.max_new_tokens):
                if all((prompt.id, index) in log.rows for prompt in batch):
                    continue
                rows = _answer_batch(program, model, tokenizer, batch, index, sampler, length, log)
                if rows is None:
                    return
                log.append(row for row in rows if (row["prompt_id"], index) not in log.rows)
                progress.report("Sampling")


def _encode_prompts(job: Job, tokenizer: Any, model: Any, indices: list[int], log: ResumableLines) -> list[_Prompt]:
    """The prompts that the model can answer; for the others an error line is written."""
    context = find_context_length(model)
    prompts = []
    for row in job.prompts:
        reason = None
        try:
            ids = encode_prompt(tokenizer, row["messages"])
        except UnusablePairError as error:
            reason, ids = str(error), []
        if reason is None and len(ids) >= context:
            reason = f"The prompt has {len(ids)} tokens, the model's context {context}: no room for a response."
        if reason is None:
            prompts.append(_Prompt(row["id"], ids, context - len(ids)))
        else:
            missing = [index for index in indices if (row["id"], index) not in log.rows]
            log.append({"prompt_id": row["id"], "sampler": index, "error": reason} for index in missing)
    return prompts


def _split_by_length(batch: list[_Prompt], max_new_tokens: int) -> Iterator[tuple[int, list[_Prompt]]]:
    """Neighbours that may grow by equally many tokens: a prompt near the context's end gets a shorter response."""
    for length, group in groupby(batch, key=lambda prompt: min(prompt.room, max_new_tokens)):
        yield length, list(group)


def _answer_batch(
    program: Program,
    model: Any,
    tokenizer: Any,
    batch: list[_Prompt],
    index: int,
    sampler: Sampler,
    length: int,
    log: ResumableLines,
) -> list[dict[str, Any]] | None:
    """One row a prompt, or None when asked to stop; texts that the prompt already has are sampled again."""
    started = time.monotonic()
    samples: dict[str | int, tuple[Sample, int]] = {}
    open_prompts = batch
    for attempt in range(1 + (RESAMPLES if sampler.temperature > 0 else 0)):
        seeds = [derive_seed(sampler.seed, prompt.id, index) + attempt for prompt in open_prompts]
        drawn = sample_batch(
            model,
            tokenizer,
            [prompt.ids for prompt in open_prompts],
            seeds,
            sampler,
            length,
            lambda: program.stop_reason is not None,
        )
        if drawn is None:
            return None
        samples |= {prompt.id: (sample, seed) for prompt, sample, seed in zip(open_prompts, drawn, seeds, strict=True)}
        open_prompts = [
            prompt for prompt in open_prompts if samples[prompt.id][0].text in _other_texts(log, prompt, index)
        ]
        if not open_prompts:
            break
    seconds = round((time.monotonic() - started) / len(batch), 3)
    return [
        {
            "prompt_id": prompt.id,
            "sampler": index,
            "text": sample.text,
            "tokens": sample.tokens,
            "finish": sample.finish,
            "seed": seed,
            "seconds": seconds,
        }
        for prompt in batch
        for sample, seed in [samples[prompt.id]]
    ]


def _other_texts(log: ResumableLines, prompt: _Prompt, index: int) -> set[str]:
    rows = (log.rows.get((prompt.id, other)) for other in range(MAX_SAMPLERS) if other != index)
    return {row["text"] for row in rows if row and "text" in row}


class _Progress:
    """Counts responses; the time left is judged by this session's pace."""

    def __init__(self, program: Program, job: Job, log: ResumableLines) -> None:
        self._program, self._log = program, log
        self._keys = [(row["id"], index) for row in job.prompts for index in range(len(job.samplers))]
        self._before = len(self._done())
        self._started = time.monotonic()

    def report(self, message: str) -> None:
        done, total = len(self._done()), len(self._keys)
        pace = (time.monotonic() - self._started) / (done - self._before) if done > self._before else None
        eta = round(pace * (total - done)) if pace is not None else None
        text = f"{message}: {done} of {total} responses"
        self._program.report("running", message=text, step=done, total_steps=total, eta_s=eta)

    def summarise(self) -> dict[str, Any]:
        """What result.json holds; ``seconds`` and ``tokens_per_s`` are of this session's and earlier sampling alike."""
        rows = self._done()
        answers = [row for row in rows if "text" in row]
        tokens, seconds = (sum(row[field] for row in answers) for field in ("tokens", "seconds"))
        texts = {(row["prompt_id"], row["text"]) for row in answers}
        device, dtype = choose_device()
        return {
            "responses": len(answers),
            "errors": len(rows) - len(answers),
            "identical": len(answers) - len(texts),
            "tokens": tokens,
            "seconds": round(seconds, 1),
            "tokens_per_s": round(tokens / seconds, 1) if seconds else None,
            "device": device.type,
            "dtype": str(dtype).removeprefix("torch."),
        }

    def _done(self) -> list[dict[str, Any]]:
        return [self._log.rows[key] for key in self._keys if key in self._log.rows]


if __name__ == "__main__":
    sys.exit(Program(Path(sys.argv[1])).run(generate_responses))
