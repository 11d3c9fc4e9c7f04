"""Trains one model: ``python -m training.engine.run RUN_DIR`` or ``accelerate launch -m training.engine.run RUN_DIR``.

In: ``config.json`` (see spec.py). Out: ``metrics.jsonl``, ``status.json``, ``checkpoints/``, ``model/`` and
``result.json``. Started again in the same folder it goes on from its newest sound checkpoint.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from models_registry.inference.load import load_tokenizer  # before accelerate: it sets the offline switches

# isort: split
import torch
from transformers import PreTrainedTokenizerBase

from models_registry.inference.folders import check_model_folder
from models_registry.inference.program import Program, ProgramError, State
from training.engine.attention import TREES
from training.engine.batches import Arrangement
from training.engine.card import write_card
from training.engine.checkpoint import FOLDER, Checkpoint, find_checkpoint
from training.engine.config import ConfigErrors, TrainingConfig
from training.engine.context import Context, StopRequested
from training.engine.data import Dataset, Row, fit_lengths, load_dataset, pair_with_strangers, require_rows
from training.engine.evaluate import describe_evaluation
from training.engine.exchange import share_json
from training.engine.layouts import PACKED, SHARED
from training.engine.logps import PolicyScorer, RewardScorer, find_savings
from training.engine.loop import Job, Progress, Trainer
from training.engine.methods import make_method
from training.engine.methods.base import Method
from training.engine.optimizer import read_weights
from training.engine.passes import ReferenceLogps, make_batch
from training.engine.precision import prefers_bf16
from training.engine.reference import fingerprint_model, load_or_compute_reference, make_key
from training.engine.sizes import count_pass_positions, needs_checkpointing
from training.engine.spec import RunSpec
from training.engine.stats import describe_length_baseline
from training.engine.trackers import make_accelerator
from training.engine.trainee import (
    add_adapters,
    enable_checkpointing,
    estimate_memory,
    export_model,
    load_trainee,
    measure_free_memory,
    rebuild_whole,
    require_disk_space,
)

RECORD_SETTINGS = ("logging_steps", "eval_steps", "save_steps", "keep_checkpoints", "tracker")
"""Settings that may change between a checkpoint and its resumption: they do not touch the weights."""


class Deputy(Program):
    """The contract of the first process on a machine that is not the first one of the run: curves are not its own."""

    def log_metrics(self, values: dict[str, Any]) -> None:
        pass


class Follower(Deputy):
    """The contract of a further process on a machine: it reads the files but writes none, except its failure."""

    def report(self, state: State, **fields: Any) -> None:
        if state == "failed":
            super().report(state, **fields)

    def write_result(self, result: dict[str, Any]) -> None:
        pass


@dataclass
class Prepared:
    """A run that is ready to train."""

    spec: RunSpec
    context: Context
    tokenizer: PreTrainedTokenizerBase
    data: dict[str, Dataset]
    trainer: Trainer


def main(program: Program) -> None:
    """Reads, prepares, trains, evaluates, saves; returns early when asked to stop."""
    try:
        run = prepare(program)
        progress = run.trainer.train()
        save_outcome(run, progress)
        run.context.accelerator.end_training()  # trackers send what they still hold
    except StopRequested:
        return
    except RuntimeError as error:
        if is_peer_loss(error):
            raise ProgramError("peer_lost", "Another process of the run was lost.") from error
        raise


def is_peer_loss(error: RuntimeError) -> bool:
    """Whether it tells of the connection to the other processes: gloo's errors have no type, but name their source."""
    return isinstance(error, torch.distributed.DistError) or "gloo/transport" in str(error)


def prepare(program: Program) -> Prepared:
    """Everything before the first step, the reference's log-probabilities and a checkpoint to go on from included."""
    spec = read_spec(program.folder)
    facts = check_model_folder(spec.model)
    # The device is said outright, or several CPU processes would not find each other.
    accelerator = make_accelerator(program, spec, cpu=not torch.cuda.is_available())
    (program.folder / "result.json").unlink(missing_ok=True)
    torch.manual_seed(spec.config.seed)
    tokenizer = load_tokenizer(spec.model)
    context = Context(program, accelerator, spec.config, pad_id=tokenizer.pad_token_id)
    checkpoint = find_newest(context, spec)
    context.config = config = settle_precision(fit_to_model(context, facts.context_length), context, checkpoint)

    context.report("Reading the data")
    data = read_data(context, spec, tokenizer)
    method = make_method(config)
    splits = make_splits(context, data, method)
    context.report("Loading the model")
    fingerprint = fingerprint_model(spec.model)
    model = load_trainee(spec.model, tokenizer, config, reward=method.trains_reward_model).to(context.device)
    scorer, arrangement = make_scorer(context, model, method, splits)
    reference: dict[str, ReferenceLogps] = {}
    if method.needs_reference and isinstance(scorer, PolicyScorer):
        reference = load_or_compute_reference(
            context,
            scorer.eval(),
            splits,
            dataclasses.replace(arrangement, with_prompt=False),
            key=make_key(_describe_inputs(context, data, fingerprint, scorer.autocast)),
            folder=spec.reference_cache or program.folder / "reference",
        )
    if config.lora_r:
        scorer.model = add_adapters(model, config, reward=method.trains_reward_model)
    fit_into_memory(context, scorer, arrangement, splits["train"])
    if accelerator.is_main_process:  # which is the one that saves
        require_disk_space(program.folder, scorer.model)

    job = Job(
        scorer=scorer,
        method=method,
        splits=splits,
        reference=reference,
        arrangement=arrangement,
        checkpoints=program.folder / FOLDER,
        identity=_identify(context, data["train"], fingerprint),
    )
    trainer = Trainer(context, job)
    if accelerator.is_fsdp2:
        context.note(f"The model is sharded over {accelerator.num_processes} processes.")
    if checkpoint is not None:
        trainer.resume(checkpoint)
    if accelerator.is_main_process:
        _forget_metrics_after(program.folder / "metrics.jsonl", trainer.progress)
    return Prepared(spec, context, tokenizer, data, trainer)


def save_outcome(run: Prepared, progress: Progress) -> None:
    """The model folder first, then the result: who sees a result finds the model."""
    context = run.context
    context.report("Saving the model", eta_s=0)
    result = describe_result(context, progress, run.trainer, run.data)  # sums over all processes
    sharded = context.accelerator.is_fsdp2
    weights = read_weights(run.trainer.model) if sharded else {}  # gathered from all processes
    if context.accelerator.is_main_process:
        model = run.trainer.model.model
        if sharded:
            trained = {name.removeprefix("model."): weight for name, weight in weights.items()}
            reward = run.trainer.job.method.trains_reward_model
            model = rebuild_whole(run.spec.model, run.tokenizer, context.config, trained, reward=reward)
        card = write_card(run.spec, context.config, result)
        export_model(model, run.tokenizer, card, context.program.folder / "model")
        context.program.write_result(result)
    else:
        context.program.write_result({})
    context.accelerator.wait_for_everyone()


def read_data(context: Context, spec: RunSpec, tokenizer: PreTrainedTokenizerBase) -> dict[str, Dataset]:
    """The training rows, of which there must be some, and the held-out rows, if any."""
    data = {"train": load_dataset(spec.train_file, tokenizer, context.config, spec.train_sha256)}
    require_rows(data["train"], spec.train_file)
    if spec.eval_file:
        data["eval"] = load_dataset(spec.eval_file, tokenizer, context.config)
        if not data["eval"].rows:
            context.note("No held-out pair is usable, so nothing is evaluated.")
    return data


def make_splits(context: Context, data: dict[str, Dataset], method: Method) -> dict[str, Sequence[Row]]:
    """The rows by part, and for methods that need them the same prompts with replies to other ones."""
    splits: dict[str, Sequence[Row]] = {name: dataset.rows for name, dataset in data.items() if dataset.rows}
    if method.needs_kl:
        for name, rows in list(splits.items()):
            try:
                strangers = pair_with_strangers(rows, context.config.seed)
            except ProgramError:
                if name == "train":
                    raise
                context.note("All held-out pairs have the same prompt, so nothing is evaluated.")
                del splits[name]
                continue
            splits[f"{name} strangers"] = [
                dataclasses.replace(row, replies=replies) for row, replies in zip(rows, strangers, strict=True)
            ]
    return splits


def read_spec(folder: Path) -> RunSpec:
    """The run's specification; raises ProgramError ``bad_config``."""
    try:
        return RunSpec.read(folder)
    except ConfigErrors as errors:
        raise ProgramError("bad_config", str(errors)) from errors


def fit_to_model(context: Context, context_length: int | None) -> TrainingConfig:
    """The settings with lengths that the model can read; a change is noted."""
    config = fit_lengths(context.config, context_length)
    if config.max_length < context.config.max_length:
        context.note(f"max_length lowered from {context.config.max_length} to the model's {config.max_length} tokens.")
    return config


def make_scorer(
    context: Context, model: Any, method: Method, splits: Mapping[str, Sequence[Row]]
) -> tuple[PolicyScorer | RewardScorer, Arrangement]:
    """The model as a function of batches, and how to lay rows out: the fastest way that gives its own numbers."""
    config = context.config
    autocast = torch.bfloat16 if config.precision == "bf16" else None
    scorer = RewardScorer(model, autocast) if method.trains_reward_model else PolicyScorer(model, autocast)
    arrangement = Arrangement(context.pad_id, with_prompt=method.reads_prompt)
    rows = splits["train"]
    shortest = sorted(range(len(rows)), key=lambda index: rows[index].length)[:2]
    plain = make_batch(context, rows, shortest, dataclasses.replace(arrangement, with_prompt=True))
    shared = make_batch(context, rows, shortest, dataclasses.replace(arrangement, layout=PACKED))
    longest = max(row.length for part in splits.values() for row in part)
    reads_hidden_states, shares = find_savings(scorer.eval(), plain, shared, longest)
    if not reads_hidden_states:
        context.note("This architecture needs the full forward pass, which costs more memory.")
    if not shares and (config.layout != "plain" or config.packing):
        context.note("This architecture does not allow prompts to be shared; each reply repeats its prompt.")
    if shares and model.config._attn_implementation == TREES and config.layout != "plain":
        # Nothing is computed between trees, so a pass is one row without padding.
        arrangement = dataclasses.replace(arrangement, layout=PACKED, capacity=context.positions_per_pass)
    elif shares and config.packing:
        arrangement = dataclasses.replace(arrangement, layout=PACKED, capacity=config.max_length)
    elif shares and config.layout != "plain":
        arrangement = dataclasses.replace(arrangement, layout=SHARED)
    return scorer, arrangement


def fit_into_memory(
    context: Context, scorer: PolicyScorer | RewardScorer, arrangement: Arrangement, rows: Sequence[Row]
) -> None:
    """Switches checkpointing on where it is asked for or where the longest batch would not fit."""
    config = context.config
    if config.gradient_checkpointing == "auto":
        sizes = [arrangement.measure(row) for row in rows]
        longest = sorted(range(len(rows)), key=lambda row: -sizes[row])[: config.batch_size]
        positions = count_pass_positions(sizes[longest[0]], len(longest), context.positions_per_pass)
        needed = estimate_memory(scorer.model, positions, bf16=config.precision == "bf16")
        fits = not context.any_process(needs_checkpointing(needed, measure_free_memory(context.device)))
        if not fits:
            context.note("Activations are computed twice (gradient checkpointing), since they would not fit in memory.")
    else:
        fits = config.gradient_checkpointing == "off"
    if not fits:
        enable_checkpointing(scorer.model)


def find_newest(context: Context, spec: RunSpec) -> Checkpoint | None:
    """The newest sound checkpoint of this folder or of ``resume_from``; without one the run starts anew.

    The first process finds it and is the only one that can read its tensors.
    """
    places = [place / FOLDER for place in (context.program.folder, *spec.resume_from)]

    def find() -> dict[str, Any] | None:
        found = find_checkpoint(places, context.note)
        return {"path": str(found.path), "state": found.state} if found else None

    found = share_json(context.accelerator, find)
    checkpoint = Checkpoint(Path(found["path"]), found["state"]) if found else None
    if checkpoint is None and spec.resume_from:
        names = ", ".join(folder.name for folder in spec.resume_from)
        context.note(f"{names} holds no sound checkpoint; the run starts from the base model.")
    return checkpoint


def settle_precision(config: TrainingConfig, context: Context, checkpoint: Checkpoint | None) -> TrainingConfig:
    """The settings with an arithmetic that is chosen once a run: a resumed one keeps that of its checkpoint."""
    if config.precision != "auto":
        return config
    precision = checkpoint.state.get("identity", {}).get("precision") if checkpoint else None
    if precision not in ("bf16", "fp32"):
        precision = "bf16" if context.any_process(prefers_bf16(context.device)) else "fp32"
    return dataclasses.replace(config, precision=precision)


def describe_result(context: Context, progress: Progress, trainer: Trainer, data: dict[str, Dataset]) -> dict[str, Any]:
    """What the supervisor files: figures of training and evaluation, and what became of every row."""
    return {
        "method": context.config.method,
        "steps": progress.step,
        "epochs": round(progress.step / trainer.steps_per_epoch, 4),
        "seconds": round(progress.seconds, 3),
        "tokens": progress.tokens,
        "pairs": progress.pairs,
        "device": str(context.device),
        "processes": context.accelerator.num_processes,
        "train": {
            "metrics": progress.tail.read(context),
            "length_baseline": describe_length_baseline([row.length_gap for row in trainer.rows if row.is_pair]),
        },
        "eval": _describe_eval(trainer.eval_rows, progress) if trainer.eval_rows else None,
        "data": {name: dataset.count() for name, dataset in data.items()},
        "settings": context.config.to_dict(),
        "notes": context.notes,
    }


def _describe_eval(rows: Sequence[Row], progress: Progress) -> dict[str, Any]:
    """Of the held-out pairs; records of one reply are in the averages alone."""
    pairs = [number for number, row in enumerate(rows) if row.is_pair]
    columns = {name: [values[number] for number in pairs] for name, values in progress.eval_columns.items()}
    return describe_evaluation([rows[number] for number in pairs], progress.eval_metrics, columns)


def _describe_inputs(
    context: Context, data: dict[str, Dataset], fingerprint: dict[str, str], autocast: torch.dtype | None
) -> dict[str, Any]:
    """All that the reference's log-probabilities depend on."""
    config = context.config
    return {
        "data": {name: dataset.sha256 for name, dataset in data.items()},
        "model": fingerprint,
        "lengths": [config.max_length, config.prompt_limit, config.overlong],
        "arithmetic": [str(autocast), context.device.type],
        "strangers": config.seed if config.method == "kto" else None,
        "labels": config.reads_single_replies,
    }


def _identify(context: Context, train: Dataset, fingerprint: dict[str, str]) -> dict[str, Any]:
    """What two attempts at one run share; JSON, one entry a thing that may differ."""
    settings = {key: value for key, value in context.config.to_dict().items() if key not in RECORD_SETTINGS}
    return {
        "method": context.config.method,
        **settings,
        "training data": train.sha256,
        "base model": make_key(fingerprint),
        "processes": context.accelerator.num_processes,
    }


def _forget_metrics_after(path: Path, progress: Progress) -> None:
    """Drops lines of what will be done again (all of them when the run starts anew)."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            values = json.loads(line)
            done = progress.evaluated_step if "eval_loss" in values else progress.step
            known = values["step"] <= done
        except (ValueError, KeyError, TypeError):
            known = False  # a line cut off by a kill
        if known:
            kept.append(line + "\n")
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text("".join(kept), encoding="utf-8")
    scratch.replace(path)


def start(arguments: list[str]) -> int:
    """Exit code: 0 finished, 3 stopped, 1 failed, 2 wrong usage."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: python -m training.engine.run RUN_DIR", file=sys.stderr)
        return 2
    code = choose_contract()(Path(arguments[0]).resolve()).run(main)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # its threads would abort a process that just ends
    return code


def choose_contract() -> type[Program]:
    """What this process owes the folder that it works in, by its place among those of the run."""
    if int(os.environ.get("RANK", "0")) == 0:
        return Program
    return Deputy if int(os.environ.get("LOCAL_RANK", "0")) == 0 else Follower


def leave(code: int) -> NoReturn:
    """Ends the process; one of several leaves without the interpreter's own clean-up.

    A thread of the process group that asks for the interpreter while it shuts down would abort the process, and a run
    that has ended well would read as crashed (seen once in 24 launches on loaded machines, torch 2.13, gloo).
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(start(sys.argv[1:]))
