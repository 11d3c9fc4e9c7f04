"""How accelerate starts a run of several processes: its configuration, made of what the run asks for.

Written into the attempt's folder and named on the command line, so that no configuration of the account that runs the
worker has a say. Precision is a setting of the run. The same one serves processes on a CPU, which talk by gloo.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.models import Layout, Sharding

LAUNCH_FILE = "accelerate.yaml"


@dataclass(frozen=True)
class Meeting:
    """Where the machines of a run meet, and this one's ``rank`` among them."""

    address: str
    port: int
    rank: int = 0


ALONE = Meeting("", 0)
"""One machine: any free port. Of several that have not met yet the address is open, too."""


def describe_launch(layout: Layout, meeting: Meeting = ALONE) -> dict[str, Any]:
    """A process for each GPU, with a copy of the model (DDP) or with a part of it (FSDP2)."""
    shards = layout.sharding == Sharding.SHARDS
    config: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "FSDP" if shards else "MULTI_GPU",
        "num_machines": layout.hosts,
        "num_processes": layout.processes,
        "machine_rank": meeting.rank,
        "main_process_port": meeting.port,
        "mixed_precision": "no",
        "dynamo_config": {},
        "use_cpu": False,
    }
    if layout.hosts > 1:
        config |= {"main_process_ip": meeting.address, "rdzv_backend": "static", "same_network": True}
    if shards:
        config["fsdp_config"] = {
            "fsdp_version": 2,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_reshard_after_forward": True,
            "fsdp_cpu_ram_efficient_loading": False,
        }
    return config


def show_launch(layout: Layout, meeting: Meeting = ALONE) -> str:
    """The same as YAML; empty where one process needs no launcher."""
    return write_yaml(describe_launch(layout, meeting)) if layout.processes > 1 else ""


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
