"""Published settings under a name, with where they were published. No torch here.

A recipe names only what differs from this engine's own defaults. Batches are written as pairs in one forward pass times
accumulation; whoever has more memory or devices shifts between the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """Settings for one method; ``reference`` says whose they are and what could not be carried over."""

    name: str
    title: str
    method: str
    values: Mapping[str, Any]
    reference: str


_TRL = {
    "epochs": 3.0,
    "batch_size": 8,
    "gradient_accumulation": 1,
    "schedule": "linear",
    "warmup_ratio": 0.0,
}
_CPO = {
    "learning_rate": 1e-4,
    "schedule": "inverse square root",
    "warmup_ratio": 0.01,
    "weight_decay": 0.01,
    "gradient_accumulation": 8,
    "lora_r": 16,
}
_TRL_REFERENCE = "Defaults of TRL 1.16.0's trainer of this method."

_ALL = (
    Recipe(
        "llama2-sft",
        "Llama 2 fine-tuning",
        "sft",
        {"epochs": 2.0, "weight_decay": 0.1, "gradient_accumulation": 16, "max_length": 4096},
        "Touvron et al. 2023 (arXiv 2307.09288), section 3.1: learning rate 2e-5, cosine, 64 samples a step.",
    ),
    Recipe(
        "llama2-reward",
        "Llama 2 reward model",
        "reward",
        {
            "learning_rate": 1e-5,
            "warmup_ratio": 0.03,
            "warmup_steps": 5,
            "weight_decay": 0.1,
            "batch_size": 8,
            "gradient_accumulation": 64,
        },
        "Touvron et al. 2023 (arXiv 2307.09288), sections 2.2 and 3.2.2, Table 27: one epoch, cosine to a tenth, small "
        "margins; 5e-6 for 70 B parameters. A step sees 512 pairs: with fewer than ten thousand, accumulate less.",
    ),
    Recipe(
        "dpo-paper",
        "DPO paper",
        "dpo",
        {
            "learning_rate": 5e-7,
            "schedule": "constant",
            "warmup_ratio": 0.0,
            "warmup_steps": 150,
            "max_grad_norm": 10.0,
            "gradient_accumulation": 16,
            "max_length": 512,
            "max_prompt_length": 256,
        },
        "Rafailov et al. 2023 (arXiv 2305.18290), config.yaml and README of their code: β 0.1, 64 pairs a step. The "
        "paper's appendix B says 1e-6. They used RMSprop, this is AdamW.",
    ),
    Recipe(
        "kto-code",
        "KTO, as in its code",
        "kto",
        {
            "learning_rate": 5e-6,
            "schedule": "constant",
            "warmup_ratio": 0.0,
            "warmup_steps": 150,
            "weight_decay": 0.01,
        },
        "Ethayarajh et al. 2024 (arXiv 2402.01306), config.yaml and launch.py of their code HALOs: AdamW, β 0.1, both "
        "weights 1, one epoch.",
    ),
    Recipe(
        "orpo-paper",
        "ORPO paper",
        "orpo",
        {
            "learning_rate": 5e-6,
            "schedule": "inverse square root",
            "warmup_ratio": 0.0,
            "warmup_steps": 200,
            "epochs": 5.0,
            "gradient_accumulation": 8,
            "max_length": 2048,
            "max_prompt_length": 1792,
        },
        "Hong, Lee and Thorne 2024 (arXiv 2403.07691), their script run_mistral_orpo_beta.sh: λ 0.1, 32 pairs a step.",
    ),
    Recipe(
        "simpo-llama3-instruct",
        "SimPO, Llama 3 Instruct",
        "simpo",
        {
            "beta": 2.5,
            "gamma_ratio": 0.55,
            "warmup_ratio": 0.1,
            "gradient_accumulation": 32,
            "max_length": 2048,
            "max_prompt_length": 1800,
        },
        "Meng, Xia and Chen 2024 (arXiv 2405.14734), README and training_configs of their code: learning rate 1e-6, "
        "128 pairs a step. Their cosine ends at zero, this one at a tenth.",
    ),
    Recipe(
        "simpo-llama3-base",
        "SimPO, Llama 3 base after SFT",
        "simpo",
        {
            "learning_rate": 6e-7,
            "warmup_ratio": 0.1,
            "gradient_accumulation": 32,
            "max_length": 2048,
            "max_prompt_length": 1800,
        },
        "Meng, Xia and Chen 2024 (arXiv 2405.14734), README and training_configs of their code: β 2, γ/β 0.5, 128 "
        "pairs a step. Their cosine ends at zero, this one at a tenth.",
    ),
    Recipe(
        "cpo-paper",
        "CPO paper",
        "cpo",
        _CPO,
        "Xu et al. 2024 (arXiv 2401.08417), their script cpo_ft.sh: β 0.1, one epoch, 32 pairs a step. They "
        "train LoRA adapters of rank 16 on down_proj alone, this one on all linear layers.",
    ),
    Recipe(
        "arpo-code",
        "ARPO, as in its code",
        "arpo",
        _CPO,
        "Xu et al. 2024 (X-ALMA, arXiv 2410.03115), cpo_config.py of their code: c1 0.9, c2 0.4. It has no script for "
        "ARPO; the rest is as in their script for CPO.",
    ),
    Recipe(
        "arpo-paper",
        "ARPO, as in its paper",
        "arpo",
        _CPO | {"arpo_form": "paper"},
        "Xu et al. 2024 (X-ALMA, arXiv 2410.03115), section 4: no factor c1; the rest is as in their script for CPO.",
    ),
    Recipe("trl-sft", "TRL defaults", "sft", _TRL, _TRL_REFERENCE),
    Recipe("trl-reward", "TRL defaults", "reward", _TRL | {"learning_rate": 1e-4, "margin": "none"}, _TRL_REFERENCE),
    Recipe("trl-dpo", "TRL defaults", "dpo", _TRL | {"learning_rate": 1e-6}, _TRL_REFERENCE),
    Recipe(
        "trl-ipo",
        "TRL defaults",
        "ipo",
        _TRL,
        "Defaults of TRL 1.16.0's DPO trainer with the loss ipo.",
    ),
    Recipe("trl-kto", "TRL defaults", "kto", _TRL, _TRL_REFERENCE),
    Recipe("trl-orpo", "TRL defaults", "orpo", _TRL | {"learning_rate": 1e-6}, _TRL_REFERENCE),
    Recipe("trl-cpo", "TRL defaults", "cpo", _TRL | {"learning_rate": 1e-6}, _TRL_REFERENCE),
    Recipe(
        "trl-simpo",
        "TRL defaults",
        "simpo",
        _TRL | {"beta": 0.1, "gamma_ratio": 5.0, "nll_weight": 1.0},
        "Defaults of TRL 1.16.0's CPO trainer with the loss simpo: γ 0.5 at β 0.1, and a language modelling term "
        "that the paper does not have.",
    ),
)
RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _ALL}


def fill_in(recipe: str, method: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """``values``, and what they leave out as the recipe of this name has it; one of another method fills nothing."""
    found = RECIPES.get(recipe)
    return {**(found.values if found and found.method == method else {}), **values}


def list_recipes(method: str) -> list[Recipe]:
    """The recipes for ``method``."""
    return [recipe for recipe in _ALL if recipe.method == method]
