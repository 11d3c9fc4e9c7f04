"""What TRL computes: loss and gradient of one batch, and the losses of a short training run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.trl_train import import_trainer  # sets the offline switches

# isort: split
import torch
from datasets import Dataset, disable_progress_bars
from torch import Tensor

from benchmarks.layouts import read_gradient
from models_registry.inference.load import load_policy, load_reward_model, load_tokenizer

Record = Mapping[str, Any]
"""A line of a training file, with ``margin`` as a number."""


def compute_batch(
    method: str, options: Mapping[str, Any], policy: Path, reference: Path, records: Sequence[Record]
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradient by weight of all records as one batch."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(method, options, policy, reference, records, folder, batch_size=len(records))
        inputs = trainer._prepare_inputs(next(iter(trainer.get_eval_dataloader())))
        trainer.model.eval()  # no dropout either way; keeps TRL from counting tokens as trained
        loss = trainer.compute_loss(trainer.model, inputs)
        loss.backward()
    return float(loss), read_gradient(trainer.model)


def train(
    method: str, options: Mapping[str, Any], policy: Path, records: Sequence[Record], batch_size: int
) -> list[float]:
    """The loss of every step of one pass over the records in their order."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(method, options, policy, policy, records, folder, batch_size=batch_size)
        trainer.train()
    return [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]


def make_trainer(
    method: str,
    options: Mapping[str, Any],
    policy: Path,
    reference: Path,
    records: Sequence[Record],
    folder: str,
    *,
    batch_size: int,
) -> Any:
    """A trainer in fp32 that takes the records in their order."""
    config_class, trainer_class = import_trainer(method)
    sides = 2 if method == "kto" else 1  # TRL's KTO makes two rows of a pair: all chosen, then all rejected
    args = config_class(
        output_dir=folder,
        per_device_train_batch_size=sides * batch_size,
        per_device_eval_batch_size=sides * batch_size,
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        lr_scheduler_type="constant",
        logging_steps=1,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        **options,
    )
    disable_progress_bars()
    dataset = Dataset.from_list([_keep_columns(method, record) for record in records])
    load = load_reward_model if method == "reward" else load_policy
    models = {"model": load(policy, torch.float32)}
    if method in ("dpo", "ipo", "kto"):
        models["ref_model"] = load_policy(reference, torch.float32)
    return trainer_class(
        **models,
        args=args,
        train_dataset=dataset,
        eval_dataset=dataset,
        processing_class=load_tokenizer(policy),
    )


def _keep_columns(method: str, record: Record) -> dict[str, Any]:
    if method == "sft":
        return {"prompt": record["prompt"], "completion": record["chosen"]}
    names = ("prompt", "chosen", "rejected", "margin") if method == "reward" else ("prompt", "chosen", "rejected")
    return {name: record[name] for name in names}
