"""Whether the engine's numbers are TRL's: the same weights, the same tokens, in fp32.

    python -m benchmarks.parity      (make parity)

Three tables: loss and gradient of one batch for every method; the losses of 50 steps of training; and prompts shared
between replies against prompts repeated, for four architectures. Exit code 1 where a difference exceeds its tolerance.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers import trl_losses  # before transformers: it sets the offline switches

# isort: split
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.layouts import ARCHITECTURES, compare_layouts, read_gradient, relate, relate_gradients
from models_registry.inference.load import load_policy, load_reward_model, load_tokenizer
from models_registry.inference.program import Program
from tests.tiny_models import CHAT_TEMPLATE, make_tiny_policy
from tests.training.engine.runs import make_rows, make_separable_records
from training.engine.batches import Arrangement, Batch, collate, plan_epoch
from training.engine.config import TrainingConfig
from training.engine.data import Row
from training.engine.layouts import SHARED
from training.engine.logps import PolicyScorer, RewardScorer
from training.engine.loop import average_terms
from training.engine.methods import make_method
from training.engine.methods.base import compare_with_reference, sum_replies
from training.engine.run import prepare

TOLERANCE = 1e-4
"""Relative."""
PAIRS, STEPS, BATCH = 8, 50, 4


@dataclass(frozen=True)
class Sides:
    """Summed log-probabilities [B] of both replies under policy and reference, with their token counts."""

    chosen: Tensor
    rejected: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor


@dataclass(frozen=True)
class Case:
    """One loss: a method with settings of ours, and what says what it should be."""

    name: str
    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    trl: dict[str, Any] | None = None
    """The same in TRL's words; None where TRL has no such loss."""
    formula: Callable[[TrainingConfig, Sides], Tensor] | None = None


def conservative_dpo(config: TrainingConfig, sides: Sides) -> Tensor:
    """DPO with smoothed labels as its authors wrote it: TRL's plain sigmoid ignores ``label_smoothing``."""
    gap = (sides.chosen - sides.reference_chosen) - (sides.rejected - sides.reference_rejected)
    smoothing, logits = config.label_smoothing, config.beta * gap
    return (-(1 - smoothing) * F.logsigmoid(logits) - smoothing * F.logsigmoid(-logits)).mean()


def arpo(config: TrainingConfig, sides: Sides) -> Tensor:
    """CPO whose rejected term is scaled by how far the replies differ (X-ALMA, arXiv 2410.03115)."""
    gap = (sides.chosen / sides.chosen_tokens - sides.rejected / sides.rejected_tokens).abs()
    factor = config.arpo_c1 if config.arpo_form == "code" else 1
    penalty = (factor * (config.arpo_c2 * gap).exp() - 1).clamp(max=1)
    preference = -F.logsigmoid(config.beta * (sides.chosen - penalty * sides.rejected)).mean()
    return preference - config.nll_weight * sides.chosen.sum() / sides.chosen_tokens.sum()


CASES = (
    Case("reward", "reward", {"margin": "none"}, {}),
    Case("reward, small margins", "reward", {"margin": "small"}, {}),
    Case("reward, large margins", "reward", {"margin": "large"}, {}),
    Case("reward, centred", "reward", {"center_rewards": 0.01}, {"center_rewards_coefficient": 0.01}),
    Case("SFT", "sft", {}, {}),
    Case("DPO", "dpo", {"beta": 0.05}, {"beta": 0.05}),
    Case(
        "DPO, robust",
        "dpo",
        {"beta": 0.05, "dpo_loss": "robust", "label_smoothing": 0.1},
        {"beta": 0.05, "loss_type": "robust", "label_smoothing": 0.1},
    ),
    Case("DPO, hinge", "dpo", {"beta": 0.05, "dpo_loss": "hinge"}, {"beta": 0.05, "loss_type": "hinge"}),
    Case("IPO", "ipo", {"beta": 0.3}, {"beta": 0.3, "loss_type": "ipo"}),
    Case(
        "KTO",
        "kto",
        {"beta": 0.05, "desirable_weight": 1.5},
        {"beta": 0.05, "desirable_weight": 1.5},
    ),
    Case("ORPO", "orpo", {"beta": 0.3}, {"beta": 0.3}),
    Case("CPO", "cpo", {"beta": 0.05, "nll_weight": 0.5}, {"beta": 0.05, "cpo_alpha": 0.5}),
    Case(
        "CPO, smoothed",
        "cpo",
        {"beta": 0.05, "label_smoothing": 0.1},
        {"beta": 0.05, "label_smoothing": 0.1},
    ),
    Case("SimPO", "simpo", {}, {"beta": 2.0, "simpo_gamma": 1.0, "loss_type": "simpo", "cpo_alpha": 0.0}),
    Case("DPO, conservative", "dpo", {"beta": 0.05, "label_smoothing": 0.1}, formula=conservative_dpo),
    Case("ARPO, the code's form", "arpo", {"beta": 0.05}, formula=arpo),
    Case("ARPO, the paper's form", "arpo", {"beta": 0.05, "arpo_form": "paper"}, formula=arpo),
    Case("ARPO, penalty at its limit", "arpo", {"beta": 0.05, "arpo_c2": 4}, formula=arpo),
)
TRAJECTORIES = {"dpo": 2e-5, "orpo": 3e-4, "reward": 5e-5}
"""Learning rate by method: the loss falls, but not to 0."""


def main() -> int:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        policies = make_policies(Path(folder))
        agree = [report_losses(policies), report_trajectories(policies[0]), report_layouts()]
    return 0 if all(agree) else 1


def report_losses(policies: tuple[Path, Path]) -> bool:
    print(f"One batch of {PAIRS} pairs: relative differences, at most {TOLERANCE:g}\n")
    print("| loss | against | ours | theirs | loss | gradient |\n|---|---|---|---|---|---|")
    worst = 0.0
    for case in CASES:
        ours, theirs = compute_ours(case, policies), compute_theirs(case, policies)
        loss, gradient = relate(ours[0], theirs[0]), relate_gradients(ours[1], theirs[1])
        against = "formula" if case.formula else "TRL"
        print(f"| {case.name} | {against} | {ours[0]:.6f} | {theirs[0]:.6f} | {loss:.1e} | {gradient:.1e} |")
        worst = max(worst, loss, gradient)
    return worst <= TOLERANCE


def report_trajectories(policy: Path) -> bool:
    print(f"\n{STEPS} steps of {BATCH} pairs: largest relative difference of a step's loss, at most {TOLERANCE:g}\n")
    print("| method | first loss | last loss | theirs | largest difference |\n|---|---|---|---|---|")
    worst = 0.0
    for method in TRAJECTORIES:
        with contextlib.redirect_stdout(io.StringIO()):  # both tell every step
            ours, theirs = compare_trajectories(method, policy)
        largest = max(map(relate, ours, theirs))
        print(f"| {method} | {ours[0]:.6f} | {ours[-1]:.6f} | {theirs[-1]:.6f} | {largest:.1e} |")
        worst = max(worst, largest)
    return worst <= TOLERANCE


def report_layouts() -> bool:
    print(f"\nPrompts shared between replies, against prompts repeated: relative, at most {TOLERANCE:g}\n")
    print("| architecture | layout | log-probabilities | gradient |\n|---|---|---|---|")
    worst = 0.0
    for name in ARCHITECTURES:
        for layout, (logps, gradient) in compare_layouts(name).items():
            print(f"| {name} | {layout} | {logps:.1e} | {gradient:.1e} |")
            worst = max(worst, logps, gradient)
    return worst <= TOLERANCE


def make_policies(folder: Path) -> tuple[Path, Path]:
    """A policy and another reference, so that no difference cancels out; both random, and sure of what they say.

    The template ends turns with EOS alone: TRL's ORPO and CPO append EOS to anything else. It begins with BOS, which
    they would prepend otherwise.
    """
    template = CHAT_TEMPLATE.replace("'<|im_end|>\n'", "'<|im_end|>'")
    paths = [make_tiny_policy(folder / str(seed), seed=seed, chat_template=template) for seed in (1, 2)]
    for path, scale in zip(paths, (3, 4), strict=True):
        model: Any = load_policy(path, torch.float32)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim == 2:
                    weight *= scale
        model.save_pretrained(path)
    return paths[0], paths[1]


def make_records(count: int, config: TrainingConfig) -> list[dict[str, Any]]:
    """Pairs of varied lengths and grades, with the margin that the grade becomes."""
    return [record | {"margin": config.margin_of(record["grade"])} for record in make_separable_records(count)]


def compute_ours(case: Case, policies: tuple[Path, Path]) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradient by weight of one batch, prompts shared as in training."""
    config = TrainingConfig.from_dict(case.method, case.settings)
    policy, reference = policies
    tokenizer = load_tokenizer(policy)
    method = make_method(config)
    rows = make_rows(tokenizer, make_records(PAIRS, config), config)
    arrangement = Arrangement(tokenizer.pad_token_id, layout=SHARED, with_prompt=method.reads_prompt)
    scorer: PolicyScorer | RewardScorer
    if method.trains_reward_model:
        scorer = RewardScorer(load_reward_model(policy, torch.float32))
    else:
        scorer = PolicyScorer(load_policy(policy, torch.float32))

    def make_batch(rows: Sequence[Row]) -> Batch:
        known = score_reference(reference, rows, arrangement) if method.needs_reference else None
        return collate(rows, dataclasses.replace(arrangement, sides=method.sides), reference_logps=known)

    batch = make_batch(rows)
    if method.needs_kl:
        strangers = make_batch(rotate_replies(rows))
        with torch.no_grad():
            batch.kl = compare_with_reference(scorer(strangers), strangers).mean().clamp(min=0)
    terms = method.compute_terms(scorer(batch), batch)
    units, tokens = sum(map(method.count_units, rows)), sum(map(method.count_tokens, rows))
    loss = average_terms(terms, batch, units, tokens, method.token_weight)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss), read_gradient(scorer.model)


def score_reference(folder: Path, rows: Sequence[Row], arrangement: Arrangement) -> list[list[float]]:
    """Summed log-probabilities under the reference, by row and reply."""
    batch = collate(rows, arrangement)
    with torch.no_grad():
        sums = sum_replies(PolicyScorer(load_policy(folder, torch.float32))(batch), batch)
    return sums.view(2, len(rows)).t().tolist()


def rotate_replies(rows: Sequence[Row]) -> list[Row]:
    """Each side with the reply of the side before it, all chosen before all rejected: TRL's way to a KL estimate."""
    replies = [row.replies[side] for side in (0, 1) for row in rows]
    before = [replies[-1], *replies[:-1]]
    return [
        dataclasses.replace(row, replies=(before[number], before[len(rows) + number]))
        for number, row in enumerate(rows)
    ]


def compute_theirs(case: Case, policies: tuple[Path, Path]) -> tuple[float, dict[str, Tensor]]:
    """The same from TRL, or from a formula over the model's ordinary forward pass in double precision."""
    config = TrainingConfig.from_dict(case.method, case.settings)
    records = make_records(PAIRS, config)
    if case.formula is None:
        return trl_losses.compute_batch(case.method, case.trl or {}, *policies, records)
    model, reference = (load_policy(path, torch.float64) for path in policies)
    rows = make_rows(load_tokenizer(policies[0]), records, config)
    with torch.no_grad():
        reference_sums = score_alone(reference, rows)
    counts = torch.tensor([[len(reply) for reply in row.replies] for row in rows]).t()
    loss = case.formula(config, Sides(*score_alone(model, rows), *reference_sums, *counts))
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss), read_gradient(model)


def score_alone(model: Any, rows: Sequence[Row]) -> Tensor:
    """[2, B] summed log-probabilities of each reply, from all logits of each sequence by itself."""
    sums = []
    for side in (0, 1):
        for row in rows:
            ids = torch.tensor([[*row.prompt, *row.replies[side]]])
            logps = model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
            sums.append(logps[len(row.prompt) - 1 :].sum())
    return torch.stack(sums).view(2, len(rows))


def compare_trajectories(method: str, policy: Path) -> tuple[list[float], list[float]]:
    """The loss of every step, ours and TRL's, on the same batches in the same order."""
    rate = TRAJECTORIES[method]
    values = {
        "learning_rate": rate,
        "batch_size": BATCH,
        "gradient_accumulation": 1,
        "schedule": "constant",
        "warmup_ratio": 0,
        "logging_steps": 1,
        "eval_steps": 0,
        "save_steps": 0,
        "precision": "fp32",
    }
    records = make_records(STEPS * BATCH, TrainingConfig.from_dict(method, values))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "train.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        spec = {"method": method, "model": str(policy), "train_file": "train.jsonl", "values": values}
        (folder / "config.json").write_text(json.dumps(spec), encoding="utf-8")
        run = prepare(Program(folder))
        lengths, seed = [row.length for row in run.trainer.rows], run.context.config.seed
        run.trainer.train()
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ours = [float(json.loads(line)["loss"]) for line in lines]
    steps = plan_epoch(lengths, micro_size=BATCH, accumulation=1, seed=seed, epoch=0)
    order = [number for (micro_batch,) in steps for number in micro_batch]
    options = {"learning_rate": rate, "max_grad_norm": 1.0}
    return ours, trl_losses.train(method, options, policy, [records[number] for number in order], BATCH)


if __name__ == "__main__":
    sys.exit(main())
