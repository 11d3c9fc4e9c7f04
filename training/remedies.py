"""What to change in a run that failed for a reason that would make it fail again: a clone is offered with it."""

from __future__ import annotations

import re
from typing import Any

from training.engine.config import METHODS
from training.models import Run


def propose_changes(run: Run) -> dict[str, Any]:
    """Settings to launch a clone with; empty where no setting would help."""
    if run.state != "failed" or run.method not in METHODS:
        return {}
    if run.cause_code == "out_of_memory":
        return _need_less_memory(run.config)
    if run.cause_code == "nan_loss":
        return _calm_down(run)
    return {}


def _need_less_memory(config: dict[str, Any]) -> dict[str, Any]:
    """Half the rows in a pass and twice the passes: the same step. Then what costs time, then what costs text."""
    batch, passes = int(config.get("batch_size", 1)), int(config.get("gradient_accumulation", 1))
    if batch > 1:
        return {"batch_size": batch // 2, "gradient_accumulation": round(batch * passes / (batch // 2))}
    if config.get("gradient_checkpointing") != "on":
        return {"gradient_checkpointing": "on"}
    if not config.get("lora_r"):
        return {"lora_r": 16, "lora_alpha": 32}
    shorter = max(64, int(config.get("max_length", 1024)) // 2)
    fits = int(config.get("max_prompt_length", 0)) < shorter
    return {"max_length": shorter} | ({} if fits else {"max_prompt_length": shorter // 2})


def _calm_down(run: Run) -> dict[str, Any]:
    """A loss that broke in the first step broke before anything was learned: no learning rate would help."""
    found = re.search(r"in step (\d+)\.", run.cause)
    if found and int(found[1]) == 1:
        return {"precision": "fp32"} if run.config.get("precision") == "bf16" else {}
    return {"learning_rate": run.config["learning_rate"] / 2} if run.config.get("learning_rate") else {}
