"""Scores responses with a reward model into ``JOB_DIR/scores.jsonl``.

    python -m models_registry.inference.score JOB_DIR

config.json: ``{"model": "/a/folder", "rows": "rows.jsonl", "batch_size": 16}``; rows.jsonl has ``{"id", "messages",
"response"}`` lines, messages being the prompt. scores.jsonl gets ``{"id", "score"}`` for each, or ``{"id", "error"}``
where the conversation is longer than the model's context. Higher is better; only differences mean something.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models_registry.inference.chat import UnusablePairError, encode_conversation
from models_registry.inference.device import choose_device, find_context_length
from models_registry.inference.job_input import read_config, read_number, read_rows
from models_registry.inference.load import check_model_folder, load_reward_model, load_tokenizer
from models_registry.inference.program import Program, ProgramError
from models_registry.inference.resumable_lines import ResumableLines

DEFAULT_BATCH_SIZE = 16
MAX_BATCH_SIZE = 512


@dataclass(frozen=True)
class Job:
    """The checked config.json and rows."""

    model: str
    rows: list[dict[str, Any]]
    batch_size: int


def read_job(folder: Path) -> Job:
    """The job in ``folder``; ProgramError ``bad_config``, ``bad_data`` or ``wrong_kind`` says what is wrong with it."""
    config = read_config(folder)
    model = config.get("model")
    if not isinstance(model, str) or not model:
        raise ProgramError("bad_config", "model: the path of a reward model's folder is needed.")
    if check_model_folder(model).kind != "reward":
        raise ProgramError("wrong_kind", "model: this is a language model; only a reward model gives scores.")
    size = int(read_number(config, "batch_size", DEFAULT_BATCH_SIZE, 1, MAX_BATCH_SIZE, whole=True))
    columns = {"id": str | int, "messages": list, "response": str}
    return Job(model=model, rows=read_rows(folder, config.get("rows"), "rows", columns), batch_size=size)


def score_responses(program: Program) -> None:
    """Scores what is still missing, longest first; leaves without a result when asked to stop."""
    job = read_job(program.folder)
    log = ResumableLines(program.folder / "scores.jsonl", ("id",))
    program.report("running", message="Loading the model", step=0, total_steps=len(job.rows))
    tokenizer = load_tokenizer(job.model)
    device, dtype = choose_device()
    model = load_reward_model(job.model, dtype).to(device)  # type: ignore[arg-type]
    pending = _encode_rows(job, tokenizer, find_context_length(model), log)
    started, before = time.monotonic(), len(job.rows) - len(pending)
    for start in range(0, len(pending), job.batch_size):
        if program.stop_reason:
            return
        batch = pending[start : start + job.batch_size]
        scores = score_sequences(model, [ids for _, ids in batch])
        log.append({"id": row_id, "score": score} for (row_id, _), score in zip(batch, scores, strict=True))
        done = before + start + len(batch)
        pace = (time.monotonic() - started) / (done - before)
        program.report(
            "running",
            message=f"Scoring: {done} of {len(job.rows)} responses",
            step=done,
            eta_s=round(pace * (len(job.rows) - done)),
        )
    rows = [log.rows[row["id"],] for row in job.rows]
    scored = sum("score" in row for row in rows)
    program.write_result({"scores": scored, "errors": len(rows) - scored, "device": device.type})


def score_sequences(model: Any, sequences: Sequence[Sequence[int]]) -> list[float]:
    """The reward of each token sequence, read at its last token; the sequences are padded on the right.

    transformers looks for the last token that is not padding. So that it finds the true end whatever the tokenizer pads
    with, the padding here is a token that ends none of these sequences.
    """
    ends = {ids[-1] for ids in sequences}
    pad = next(token for token in range(len(ends) + 1) if token not in ends)
    text_config = model.config.get_text_config()
    width = max(map(len, sequences))
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in sequences], device=model.device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in sequences], device=model.device)
    named, text_config.pad_token_id = text_config.pad_token_id, pad
    try:
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask).logits
    finally:
        text_config.pad_token_id = named
    scores = [float(score) for score in logits.squeeze(-1).float().tolist()]
    if not all(map(math.isfinite, scores)):
        raise ProgramError("nan_score", "The reward model gives scores that are no numbers: its weights are damaged.")
    return scores


def _encode_rows(job: Job, tokenizer: Any, context: int, log: ResumableLines) -> list[tuple[str | int, list[int]]]:
    """Ids and tokens of the rows without a line yet, longest first; rows that cannot be scored get their error line."""
    pending = []
    for row in job.rows:
        if (row["id"],) in log.rows:
            continue
        reply = {"role": "assistant", "content": row["response"]}
        reason = None
        try:
            ids = encode_conversation(tokenizer, [*row["messages"], reply])
        except UnusablePairError as error:
            reason, ids = str(error), []
        if len(ids) > context:
            reason = f"Prompt and response have {len(ids)} tokens, the model's context {context}."
        if reason is None:
            pending.append((row["id"], ids))
        else:
            log.append([{"id": row["id"], "error": reason}])
    return sorted(pending, key=lambda item: (-len(item[1]), str(item[0])))


if __name__ == "__main__":
    sys.exit(Program(Path(sys.argv[1])).run(score_responses))
