"""The model card: what a finished model folder says about itself."""

from __future__ import annotations

import json
from typing import Any

from training.engine.config import METHOD_LABELS, TrainingConfig
from training.engine.recipes import RECIPES
from training.engine.spec import RunSpec

_PAPERS = {
    "sft": ("Language modelling on the wanted replies", ""),
    "reward": ("Bradley-Terry loss with margins, as in Llama 2", "2307.09288"),
    "dpo": ("Direct Preference Optimization", "2305.18290"),
    "ipo": ("Identity Preference Optimization", "2310.12036"),
    "kto": ("Kahneman-Tversky Optimization", "2402.01306"),
    "orpo": ("Odds Ratio Preference Optimization", "2403.07691"),
    "cpo": ("Contrastive Preference Optimization", "2401.08417"),
    "simpo": ("Simple Preference Optimization", "2405.14734"),
    "arpo": ("Adaptive Rejection Preference Optimization", "2410.03115"),
}


def write_card(spec: RunSpec, config: TrainingConfig, result: dict[str, Any]) -> str:
    """Markdown with a front matter that model hubs read."""
    pipeline = "text-classification" if spec.method == "reward" else "text-generation"
    data = result["data"]["train"]
    lines = [
        "---",
        "library_name: transformers",
        *([f"license: {json.dumps(spec.licence)}"] if spec.licence else []),
        f"pipeline_tag: {pipeline}",
        f"tags: [plumbline, preference, {spec.method}]",
        "---",
        "",
        f"# {METHOD_LABELS[spec.method]} of {spec.model_name}",
        "",
        f"- Base: {spec.model_name}",
        f"- Method: {_name_paper(spec.method)}",
        f"- Training data: {data['used']} pairs, SHA-256 `{data['sha256']}`",
        f"- Steps: {result['steps']}, {result['seconds']:.0f} seconds, {result['tokens']} tokens",
    ]
    if spec.recipe in RECIPES:
        lines.append(f"- Recipe: {RECIPES[spec.recipe].name}. {RECIPES[spec.recipe].reference}")
    if spec.licence:
        lines.append(f"- Licence of the base: {spec.licence}")
    if spec.method == "reward":
        lines.append("- Reads a whole conversation through its chat template; the single output is the score.")
    if result["eval"] and result["eval"]["pairs"]:
        held_out, low_high = result["eval"], result["eval"]["interval"]
        lines += [
            "",
            "## Evaluation on held-out pairs",
            "",
            f"Chosen reply preferred: {held_out['accuracy']:.3f} "
            f"(95 % interval {low_high[0]:.3f} to {low_high[1]:.3f}, {held_out['pairs']} pairs); "
            f"choosing the longer reply: {held_out['length_baseline']['accuracy']:.3f}.",
        ]
    lines += ["", "## Settings", "", "| setting | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in config.to_dict().items()]
    return "\n".join([*lines, ""])


def _name_paper(method: str) -> str:
    title, number = _PAPERS[method]
    return f"{title} ([arXiv {number}](https://arxiv.org/abs/{number}))" if number else title
