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
_TRL_REFERENCE = "Defaults of TRL 1.16.0's trainer of this method."

_ALL = (
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
        "Touvron et al. 2023 (arXiv 2307.09288), sections 3.1 and 3.2.2, Table 27: one epoch, cosine to a tenth, small "
        "margins, 512 pairs a step; 5e-6 for 70 B parameters.",
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
        "Rafailov et al. 2023 (arXiv 2305.18290), appendix B, and their code: β 0.1, 64 pairs a step. They used "
        "RMSprop, this is AdamW.",
    ),
    Recipe(
        "orpo-paper",
        "ORPO paper",
        "orpo",
        {"learning_rate": 5e-6, "schedule": "inverse square root", "epochs": 5.0},
        "Hong, Lee and Thorne 2024 (arXiv 2403.07691), their script for Mistral-ORPO-β: λ 0.1, five epochs.",
    ),
    Recipe(
        "simpo-llama3-instruct",
        "SimPO, Llama 3 Instruct",
        "simpo",
        {"beta": 2.5, "gamma_ratio": 0.55},
        "Meng, Xia and Chen 2024 (arXiv 2405.14734), README of their code: β 2.5, γ/β 0.55, learning rate 1e-6.",
    ),
    Recipe(
        "cpo-paper",
        "CPO paper",
        "cpo",
        {"learning_rate": 1e-4, "schedule": "inverse square root"},
        "Xu et al. 2024 (arXiv 2401.08417), their script cpo_ft.sh, which trains LoRA adapters: β 0.1, one epoch.",
    ),
    Recipe(
        "arpo-code",
        "ARPO, as in its code",
        "arpo",
        {"learning_rate": 1e-4, "schedule": "inverse square root"},
        "Xu et al. 2024 (X-ALMA, arXiv 2410.03115), utils/cpo_trainer.py of their code: c1 0.9, c2 0.4; step size and "
        "schedule are those of their CPO.",
    ),
    Recipe(
        "arpo-paper",
        "ARPO, as in its paper",
        "arpo",
        {"learning_rate": 1e-4, "schedule": "inverse square root", "arpo_form": "paper"},
        "Xu et al. 2024 (X-ALMA, arXiv 2410.03115), section 4: no factor c1; step size and schedule as in their CPO.",
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


def list_recipes(method: str) -> list[Recipe]:
    """The recipes for ``method``."""
    return [recipe for recipe in _ALL if recipe.method == method]
