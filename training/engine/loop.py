"""The training loop: one for all methods.

A step sees up to batch_size × gradient_accumulation × processes rows. Its loss is the average over all its rows (and,
for terms counted by token, over all its tokens), however they are spread.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models_registry.inference.program import ProgramError
from training.engine.batches import Arrangement, Batch, MicroBatch, plan_epoch, take_share
from training.engine.checkpoint import Checkpoint, save_checkpoint
from training.engine.config import list_settings
from training.engine.context import Context, StopRequested
from training.engine.data import Row
from training.engine.evaluate import evaluate
from training.engine.exchange import share_tensors
from training.engine.logps import PolicyScorer, RewardScorer
from training.engine.methods.base import Method, Terms, compare_with_reference
from training.engine.optimizer import (
    gather,
    learning_rate_at,
    make_optimizer,
    read_optimizer,
    read_weights,
    restore_optimizer,
    restore_weights,
)
from training.engine.passes import ReferenceLogps, make_batch, make_splitter, map_rows
from training.engine.sizes import count_steps
from training.engine.tally import Tally

TAIL_SHARE = 0.2
"""The final training metrics are averages over this last share of the steps."""


@dataclass
class Job:
    """What is trained, on what."""

    scorer: PolicyScorer | RewardScorer
    method: Method
    splits: dict[str, Sequence[Row]]
    """``train``, ``eval`` and, for methods that estimate a KL divergence, ``train strangers`` and ``eval strangers``:
    the same prompts with replies to other ones."""
    reference: dict[str, ReferenceLogps]
    arrangement: Arrangement
    checkpoints: Path
    identity: dict[str, Any]
    """What a checkpoint must agree on to be taken up."""


@dataclass
class Progress:
    """Where the run stands. A checkpoint holds all but the evaluation, which the end of the run does anew."""

    step: int = 0
    tokens: int = 0
    pairs: int = 0
    seconds: float = 0.0
    evaluated_step: int = -1
    """Where the last evaluation was; the first is before step 1."""
    window: Tally = field(default_factory=Tally)
    """What the next point of the curves is an average of."""
    tail: Tally = field(default_factory=Tally)
    eval_metrics: dict[str, float] = field(default_factory=dict)
    eval_columns: dict[str, list[float]] = field(default_factory=dict)

    def to_dict(self, context: Context) -> dict[str, Any]:
        kept = {name: getattr(self, name) for name in ("step", "tokens", "pairs", "seconds", "evaluated_step")}
        return {**kept, "window": self.window.get_state(context), "tail": self.tail.get_state(context)}

    @classmethod
    def from_dict(cls, values: dict[str, Any], context: Context) -> Progress:
        share = float(context.accelerator.is_main_process)
        return cls(**values | {name: Tally(values[name], share=share) for name in ("window", "tail")})


class Trainer:
    """Holds the parts of one run; :meth:`train` is the loop."""

    def __init__(self, context: Context, job: Job) -> None:
        self.context, self.job, self.config = context, job, context.config
        self.model = job.scorer
        job.scorer._no_split_modules = job.scorer.model._no_split_modules  # what FSDP shards one by one: layers
        self.wrapped: Any
        self.wrapped, self.optimizer = context.accelerator.prepare(job.scorer, make_optimizer(job.scorer, self.config))
        self.progress = Progress()
        self.spoiled_at = torch.tensor(-1, device=context.device)
        self.micro_size = self.config.batch_size * context.accelerator.num_processes
        self.rows, self.eval_rows = job.splits["train"], job.splits.get("eval", [])
        self.steps_per_epoch, self.total_steps = count_steps(
            len(self.rows),
            micro_size=self.micro_size,
            accumulation=self.config.gradient_accumulation,
            epochs=self.config.epochs,
            max_steps=self.config.max_steps,
        )

    def train(self) -> Progress:
        """Runs to the end; raises StopRequested after saving what it has."""
        progress, config = self.progress, self.config
        started, session_start = time.monotonic(), progress.step
        seconds_before = progress.seconds
        saved_step = progress.step
        plan: list[list[MicroBatch]] = []
        planned_epoch = -1
        self.wrapped.train()
        try:
            if self._owes_evaluation():
                self._evaluate()
            while progress.step < self.total_steps:
                self.context.check_stop()
                epoch, index = divmod(progress.step, self.steps_per_epoch)
                if epoch != planned_epoch:
                    plan, planned_epoch = self._plan_epoch(epoch), epoch
                self._step(plan[index])
                progress.seconds = seconds_before + time.monotonic() - started

                done, last = progress.step, progress.step == self.total_steps
                speed = (time.monotonic() - started) / (done - session_start)
                self._report(speed * (self.total_steps - done), always=last or done == session_start + 1)
                if done % config.logging_steps == 0 or last:
                    self._log()
                if self._owes_evaluation():
                    self._evaluate()
                if last or (config.save_steps and done % config.save_steps == 0):
                    self._save()
                    saved_step = done
            self._evaluate()
        except StopRequested:
            if progress.step > saved_step:
                self._save()
            raise
        progress.seconds = seconds_before + time.monotonic() - started
        return progress

    def resume(self, checkpoint: Checkpoint) -> None:
        """Puts weights, optimizer, random state and position back. Raises ProgramError ``bad_checkpoint``."""
        state = checkpoint.state
        # A setting that is newer than the checkpoint had its default then.
        known = {setting.name: setting.default for setting in list_settings(self.config.method)}
        known |= state.get("identity", {})
        differing = sorted(key for key, value in self.job.identity.items() if known.get(key) != value)
        if differing:
            raise ProgramError(
                "bad_checkpoint",
                f"The checkpoint {checkpoint.path.name} belongs to a run with other settings ({', '.join(differing)}).",
            )
        try:
            restore_weights(self.model, self._read_tensors(checkpoint, "model"))
            restore_optimizer(self.optimizer, self.model, self._read_tensors(checkpoint, "optimizer"))
            _restore_random_state(self._read_tensors(checkpoint, "rng"))
        except (KeyError, RuntimeError) as error:
            raise ProgramError("bad_checkpoint", f"{checkpoint.path.name} does not fit the model: {error}") from error
        self.progress = Progress.from_dict(state["progress"], self.context)
        self.context.note(f"Taken up from step {self.progress.step} of {self.total_steps}.")

    def _read_tensors(self, checkpoint: Checkpoint, name: str) -> dict[str, Tensor]:
        return share_tensors(self.context.accelerator, lambda: checkpoint.read_tensors(name))

    def _step(self, micro_batches: list[MicroBatch]) -> None:
        """One optimizer step over all rows of ``micro_batches``."""
        context, method, progress = self.context, self.job.method, self.progress
        accelerator = context.accelerator
        rows = [self.rows[number] for micro_batch in micro_batches for number in micro_batch]
        units, tokens = sum(map(method.count_units, rows)), sum(map(method.count_tokens, rows))
        kl = self._estimate_kl(micro_batches) if method.needs_kl else None
        step_loss = torch.zeros((), device=context.device)
        in_tail = progress.step >= min(self.total_steps - 1, (1 - TAIL_SHARE) * self.total_steps)
        tallies = [progress.window, progress.tail] if in_tail else [progress.window]
        for number, micro_batch in enumerate(micro_batches, start=1):
            batch = self._make_share("train", micro_batch, sides=method.sides)
            batch.kl = kl
            last = number == len(micro_batches)
            with contextlib.nullcontext() if last else accelerator.no_sync(self.wrapped):
                terms = method.compute_terms(self.wrapped(batch), batch)
                loss = average_terms(terms, batch, units, tokens, method.token_weight)
                accelerator.backward(loss * accelerator.num_processes)  # processes are averaged; we want their sum
            step_loss += loss.detach()
            for tally in tallies:
                tally.add_terms(terms, batch.present)

        grad_norm = gather(
            accelerator.clip_grad_norm_(self.wrapped.parameters(), self.config.max_grad_norm or math.inf)
        )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(progress.step, self.total_steps, self.config)
        self.optimizer.step()
        self.optimizer.zero_grad()
        progress.step += 1
        progress.pairs += len(rows)
        progress.tokens += sum(row.tokens for row in rows)
        for tally in tallies:
            tally.add_step(step_loss, grad_norm, tokens)
        spoiled = ~(torch.isfinite(step_loss) & torch.isfinite(grad_norm)) & (self.spoiled_at < 0)
        self.spoiled_at = torch.where(spoiled, progress.step, self.spoiled_at)

    def _make_share(self, split: str, micro_batch: MicroBatch, *, sides: int | None = None) -> Batch:
        """This process's part of a micro-batch."""
        accelerator = self.context.accelerator
        share, present = take_share(micro_batch, accelerator.process_index, accelerator.num_processes)
        arrangement = dataclasses.replace(self.job.arrangement, sides=sides)
        reference = self.job.reference.get(split)
        return make_batch(
            self.context, self.job.splits[split], share, arrangement, reference=reference, present=present
        )

    @torch.no_grad()
    def _estimate_kl(self, micro_batches: list[MicroBatch]) -> Tensor:
        """[] mean over all replies to other prompts in the step of log π − log π_ref, at least 0 (KTO, eq. 7)."""
        totals = torch.zeros(2, device=self.context.device)
        for micro_batch in micro_batches:
            batch = self._make_share("train strangers", micro_batch)
            counted = batch.present[batch.side_rows]
            ratios = compare_with_reference(self.wrapped(batch), batch)
            totals += torch.stack([(ratios * counted).sum(), counted.sum()])
        if self.context.accelerator.num_processes > 1:
            totals = self.context.accelerator.reduce(totals, "sum")
        return (totals[0] / totals[1]).clamp(min=0)

    def _estimate_eval_kl(self) -> Tensor:
        """[] the same over all held-out rows."""

        def compute(batch: Batch) -> dict[str, Tensor]:
            zeros = torch.zeros_like(batch.margins)
            ratios = compare_with_reference(self.wrapped(batch), batch)
            return {"ratio": zeros.index_add(0, batch.side_rows, ratios)}

        rows = self.job.splits["eval strangers"]
        self.wrapped.eval()
        ratios = map_rows(
            self.context,
            rows,
            compute,
            self.job.arrangement,
            message="Evaluating",
            reference=self.job.reference["eval strangers"],
        )["ratio"]
        self.wrapped.train()
        return (ratios.sum() / sum(len(row.replies) for row in rows)).clamp(min=0).to(self.context.device)

    def _plan_epoch(self, epoch: int) -> list[list[MicroBatch]]:
        steps = plan_epoch(
            [row.length for row in self.rows],
            micro_size=self.micro_size,
            accumulation=self.config.gradient_accumulation,
            seed=self.config.seed,
            epoch=epoch,
            buckets=self.config.length_buckets,
        )
        arrangement = dataclasses.replace(self.job.arrangement, sides=self.job.method.sides)
        split = make_splitter(self.context, self.rows, arrangement)
        return [[part for batch in step for part in split(batch)] for step in steps]

    def _log(self) -> None:
        self._require_finite()
        values = self.progress.window.read(self.context)
        self.progress.window = Tally()
        step = self.progress.step
        self.context.log_metrics(
            {
                "step": step,
                "epoch": round(step / self.steps_per_epoch, 4),
                **values,
                "learning_rate": learning_rate_at(step - 1, self.total_steps, self.config),
                "num_tokens": self.progress.tokens,
            }
        )
        shown = ("loss", "rewards/margins", "rewards/accuracies", "nll_loss", "grad_norm")
        parts = [f"{name} {values[name]:.4g}" for name in shown if name in values]
        self.context.print(f"step {step}/{self.total_steps}  {'  '.join(parts)}")

    def _owes_evaluation(self) -> bool:
        """Whether one is due before the next step: at the start and every few steps. The end has its own."""
        step, every = self.progress.step, self.config.eval_steps
        due = step == 0 or (every > 0 and step % every == 0 and step < self.total_steps)
        return due and self.progress.evaluated_step < step

    def _evaluate(self) -> None:
        self._require_finite()
        if not self.eval_rows:
            return
        job = self.job
        metrics, columns = evaluate(
            self.context,
            self.wrapped,
            job.method,
            self.eval_rows,
            job.arrangement,
            job.reference.get("eval"),
            self._estimate_eval_kl() if job.method.needs_kl else None,
        )
        self.progress.eval_metrics, self.progress.eval_columns = metrics, columns
        self.progress.evaluated_step = step = self.progress.step
        self.context.log_metrics({"step": step, "epoch": round(step / self.steps_per_epoch, 4), **metrics})
        parts = [f"{name} {metrics[name]:.4g}" for name in ("eval_loss", "eval_rewards/accuracies") if name in metrics]
        self.context.print(f"step {step}/{self.total_steps}  {'  '.join(parts)}")

    def _save(self) -> None:
        self._require_finite()
        progress, accelerator = self.progress, self.context.accelerator
        self.context.report(f"Saving the checkpoint of step {progress.step}")
        state = {
            "identity": self.job.identity,
            "progress": progress.to_dict(self.context),
            "total_steps": self.total_steps,
        }
        groups = {
            "model": read_weights(self.model),
            "optimizer": read_optimizer(self.optimizer, self.model),
            "rng": _read_random_state(),
        }
        if accelerator.is_main_process:
            keep = self.config.keep_checkpoints
            save_checkpoint(self.job.checkpoints, progress.step, groups, state, keep=keep)
        accelerator.wait_for_everyone()

    def _report(self, eta_s: float, *, always: bool) -> None:
        step = self.progress.step
        self.context.report(
            f"Training: step {step} of {self.total_steps}",
            always=always or step % self.config.logging_steps == 0,
            step=step,
            total_steps=self.total_steps,
            eta_s=round(eta_s, 1),
        )

    def _require_finite(self) -> None:
        """Raises ProgramError ``nan_loss`` naming the first step that went wrong; waits for the device."""
        step = int(self.spoiled_at)
        if self.context.accelerator.num_processes > 1:
            own = torch.tensor([float(step) if step >= 0 else math.inf], device=self.context.device)
            first = float(self.context.accelerator.gather(own).min())
            step = -1 if math.isinf(first) else int(first)
        if step >= 0:
            advice = (
                "Nothing was learned until then: look at the base model's weights and at the data, or use fp32."
                if step == 1
                else "Lower the learning rate, use fp32, or look at the data near that step."
            )
            raise ProgramError("nan_loss", f"Loss or gradient became infinite or not a number in step {step}. {advice}")


def average_terms(terms: Terms, batch: Batch, units: int, tokens: int, token_weight: float) -> Tensor:
    """[] this batch's share of the loss of a step with so many units and tokens in all."""
    counted = batch.weights * batch.present
    loss = (terms.row_loss * counted).sum() / units
    if terms.token_loss is not None and tokens:
        loss = loss + token_weight * (terms.token_loss * counted).sum() / tokens
    return loss


def _read_random_state() -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else state


def _restore_random_state(state: dict[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
