"""Loss, metrics and gradients equal TRL's on the same conversations and the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from models_registry.inference.load import load_policy, load_reward_model, load_tokenizer
from tests.tiny_models import CHAT_TEMPLATE, make_tiny_policy
from tests.training.engine.runs import make_rows, make_separable_records
from training.engine.batches import collate
from training.engine.config import TrainingConfig
from training.engine.logps import PolicyScorer, RewardScorer, sum_completions
from training.engine.methods import make_method

pytestmark = pytest.mark.filterwarnings("ignore")

TOLERANCE = 1e-4
PAIRS = 8


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A policy and another reference, so that no difference cancels out.

    The template ends turns with EOS alone: TRL's ORPO appends a second EOS to anything else.
    """
    root = tmp_path_factory.mktemp("parity")
    template = CHAT_TEMPLATE.replace("'<|im_end|>\n'", "'<|im_end|>'")
    return tuple(make_tiny_policy(root / str(seed), seed=seed, chat_template=template) for seed in (1, 2))  # type: ignore[return-value]


def make_trl_dataset(records: list[dict[str, Any]], config: TrainingConfig) -> Any:
    from datasets import Dataset

    keep = [{key: record[key] for key in ("prompt", "chosen", "rejected")} for record in records]
    if config.method == "reward":
        keep = [row | {"margin": config.margin_of(record["grade"])} for row, record in zip(keep, records, strict=True)]
    return Dataset.from_list(keep)


def compute_ours(
    folder: Path, config: TrainingConfig, records: list[dict[str, Any]], reference_folder: Path
) -> tuple[float, dict[str, float], float]:
    """Loss, logged averages and the norm of the gradient of one batch."""
    tokenizer = load_tokenizer(folder)
    method = make_method(config)
    rows = make_rows(tokenizer, records, config)
    options: dict[str, Any] = {"pad_id": tokenizer.pad_token_id, "prompt_of_chosen": method.reads_prompt}
    reference = None
    if method.needs_reference:
        with torch.no_grad():
            batch = collate(rows, **options)
            sums = sum_completions(PolicyScorer(load_policy(reference_folder, torch.float32))(batch), batch)
        reference = (sums[0].tolist(), sums[1].tolist())
    batch = collate(rows, reference_logps=reference, **options)
    scorer = (
        RewardScorer(load_reward_model(folder, torch.float32))
        if method.trains_reward_model
        else PolicyScorer(load_policy(folder, torch.float32))
    )
    terms = method.compute_terms(scorer(batch), batch)
    loss = terms.pair_loss.mean()
    logged = {name: float(value.mean()) for name, value in terms.logged.items()}
    if terms.token_loss is not None:
        nll = terms.token_loss.sum() / sum(method.count_tokens(row) for row in rows)
        logged["nll_loss"] = float(nll)
        loss = loss + nll
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss), logged, measure_gradient(scorer)


def measure_gradient(model: torch.nn.Module) -> float:
    return float(torch.stack([weight.grad.norm() for weight in model.parameters() if weight.grad is not None]).norm())


def compute_theirs(trainer: Any) -> tuple[dict[str, float], float]:
    """TRL's evaluation of its dataset in one batch, and the norm of its gradient."""
    metrics = trainer.evaluate()
    trainer.model.eval()  # no dropout either way; keeps TRL from counting tokens as trained
    inputs = trainer._prepare_inputs(next(iter(trainer.get_eval_dataloader())))
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    return metrics, measure_gradient(trainer.model)


def options_for_trl(folder: Path, **extra: Any) -> dict[str, Any]:
    common: dict[str, Any] = {"output_dir": str(folder), "per_device_eval_batch_size": PAIRS, "report_to": []}
    return common | {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "disable_tqdm": True, **extra}


def assert_same(
    ours: tuple[float, dict[str, float], float], theirs: tuple[dict[str, float], float], names: list[str]
) -> None:
    loss, logged, gradient = ours
    metrics, their_gradient = theirs
    assert loss == pytest.approx(metrics["eval_loss"], abs=TOLERANCE)
    for name in names:
        assert logged[name] == pytest.approx(metrics[f"eval_{name}"], abs=1e-3, rel=1e-4), name
    assert gradient == pytest.approx(their_gradient, rel=1e-3)


def test_dpo(models: tuple[Path, Path], tmp_path: Path) -> None:
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

    config = TrainingConfig.from_dict("dpo", {"beta": 0.3})
    records = make_separable_records(PAIRS)
    dataset = make_trl_dataset(records, config)
    trainer = DPOTrainer(
        model=load_policy(models[0], torch.float32),
        ref_model=load_policy(models[1], torch.float32),
        args=DPOConfig(**options_for_trl(tmp_path, beta=0.3)),
        train_dataset=dataset,
        eval_dataset=dataset,
        processing_class=load_tokenizer(models[0]),
    )
    ours = compute_ours(models[0], config, records, models[1])
    names = ["rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen"]
    assert_same(ours, compute_theirs(trainer), [*names, "logps/rejected"])
    assert abs(ours[0] - 0.6931) > 0.01  # policy and reference differ, so the comparison means something


@pytest.mark.parametrize("margin", ["none", "small", "large"])
def test_reward(models: tuple[Path, Path], tmp_path: Path, margin: str) -> None:
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    config = TrainingConfig.from_dict("reward", {"margin": margin, "center_rewards": 0.01})
    records = make_separable_records(PAIRS)
    dataset = make_trl_dataset(records, config)
    trainer = RewardTrainer(
        model=load_reward_model(models[0], torch.float32),
        args=RewardConfig(**options_for_trl(tmp_path, center_rewards_coefficient=0.01)),
        train_dataset=dataset,
        eval_dataset=dataset,
        processing_class=load_tokenizer(models[0]),
    )
    assert_same(compute_ours(models[0], config, records, models[1]), compute_theirs(trainer), ["accuracy", "margin"])


def test_orpo(models: tuple[Path, Path], tmp_path: Path) -> None:
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    config = TrainingConfig.from_dict("orpo", {"beta": 0.3})
    records = make_separable_records(PAIRS)
    dataset = make_trl_dataset(records, config)
    trainer = ORPOTrainer(
        model=load_policy(models[0], torch.float32),
        args=ORPOConfig(**options_for_trl(tmp_path, beta=0.3)),
        train_dataset=dataset,
        eval_dataset=dataset,
        processing_class=load_tokenizer(models[0]),
    )
    names = ["nll_loss", "log_odds_ratio", "log_odds_chosen", "logps/chosen", "logps/rejected", "rewards/margins"]
    ours = compute_ours(models[0], config, records, models[1])
    assert_same(ours, compute_theirs(trainer), [*names, "rewards/accuracies"])
