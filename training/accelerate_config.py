"""How accelerate starts a run on several GPUs: its configuration, made of what the run asks for.

Written into the attempt's folder and named on the command line, so that no configuration of the account that runs the
worker has a say. Precision is a setting of the run. The same one serves processes on a CPU, which talk by gloo.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.models import Sharding

LAUNCH_FILE = "accelerate.yaml"


def describe_launch(gpus: int, sharding: str) -> dict[str, Any]:
    """A process for each GPU, with a copy of the model (DDP) or with a part of it (FSDP2)."""
    shards = sharding == Sharding.SHARDS
    config: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "FSDP" if shards else "MULTI_GPU",
        "num_machines": 1,
        "num_processes": gpus,
        "machine_rank": 0,
        "main_process_port": 0,  # any free one
        "mixed_precision": "no",
        "dynamo_config": {},
        "use_cpu": False,
    }
    if shards:
        config["fsdp_config"] = {
            "fsdp_version": 2,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_reshard_after_forward": True,
            "fsdp_cpu_ram_efficient_loading": False,
        }
    return config


def write_launch(folder: Path, config: dict[str, Any] | None) -> None:
    """Puts it where the launcher will read it, if there is one."""
    if config:
        (folder / LAUNCH_FILE).write_text(write_yaml(config), encoding="utf-8")


def write_yaml(config: dict[str, Any], *, indent: str = "") -> str:
    """Texts, numbers, switches and mappings of them; every value is JSON, which YAML reads alike."""
    lines = []
    for name, value in config.items():
        if isinstance(value, dict) and value:
            lines.append(f"{indent}{name}:\n{write_yaml(value, indent=indent + '  ')}")
        else:
            lines.append(f"{indent}{name}: {json.dumps(value)}\n")
    return "".join(lines)
