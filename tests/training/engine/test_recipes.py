"""Every recipe fits the engine, and those that say they are TRL's are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from training.engine.config import METHODS, TrainingConfig, list_settings
from training.engine.recipes import RECIPES, list_recipes


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_recipe_fits_the_engine_and_says_only_what_differs(recipe: Any) -> None:
    config = TrainingConfig.from_dict(recipe.method, recipe.values)
    defaults = {setting.name: setting.default for setting in list_settings(recipe.method)}
    assert all(getattr(config, name) == value != defaults[name] for name, value in recipe.values.items())
    assert recipe.reference


def test_every_method_has_a_recipe() -> None:
    assert all(list_recipes(method) for method in METHODS)


def make_trl_config(method: str, folder: Path) -> Any:
    from trl.experimental.cpo import CPOConfig
    from trl.experimental.orpo import ORPOConfig
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.sft_config import SFTConfig

    makers: dict[str, Any] = {
        "sft": SFTConfig,
        "reward": RewardConfig,
        "dpo": DPOConfig,
        "ipo": DPOConfig,
        "kto": KTOConfig,
        "orpo": ORPOConfig,
        "cpo": CPOConfig,
        "simpo": CPOConfig,
    }
    return makers[method](output_dir=str(folder), use_cpu=True, bf16=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["sft", "reward", "dpo", "ipo", "kto", "orpo", "cpo", "simpo"])
def test_defaults_of_trl_are_those_of_trl(method: str, tmp_path: Path) -> None:
    ours = TrainingConfig.from_dict(method, RECIPES[f"trl-{method}"].values)
    theirs = make_trl_config(method, tmp_path)
    assert ours.learning_rate == theirs.learning_rate
    assert ours.epochs == theirs.num_train_epochs
    assert ours.batch_size == theirs.per_device_train_batch_size
    assert ours.gradient_accumulation == theirs.gradient_accumulation_steps
    assert ours.schedule == theirs.lr_scheduler_type.value
    assert ours.warmup_ratio == theirs.warmup_steps == 0
    assert ours.weight_decay == theirs.weight_decay
    assert ours.max_grad_norm == theirs.max_grad_norm
    assert ours.max_length == theirs.max_length
    if method not in ("sft", "reward"):
        assert ours.beta == theirs.beta
    if method in ("cpo", "simpo"):
        assert ours.nll_weight == theirs.cpo_alpha
    if method == "simpo":
        assert ours.gamma_ratio * ours.beta == theirs.simpo_gamma
