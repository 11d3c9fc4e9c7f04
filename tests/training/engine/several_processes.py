"""Runs one after the other in the processes of one launch, since starting them takes longer than the runs.

    accelerate launch --config_file CONFIG -m tests.training.engine.several_processes ddp=RUN fsdp=RUN:3 fsdp=RUN

``fsdp`` shards the model, ``ddp`` copies it; a number asks for a stop when that step is logged.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from accelerate.state import AcceleratorState, DistributedType, PartialState

from models_registry.inference.program import Program
from tests.training.engine.runs import stop_after
from training.engine.run import Follower, leave, main


def start(arguments: list[str]) -> int:
    """The last exit code that is not 0 or 3 (stopped), else 0."""
    code = 0
    PartialState.destroy_process_group = lambda self, group=None: None  # the next run goes on with the same processes
    for argument in arguments:
        kind, _, place = argument.partition("=")
        folder, _, step = place.partition(":")
        os.environ["ACCELERATE_USE_FSDP"] = str(kind == "fsdp").lower()
        AcceleratorState._reset_state(reset_partial_state=False)
        # accelerate shards on accelerators only; told that these are some, it does the same on the CPU
        shards = kind == "fsdp"
        PartialState(cpu=True).distributed_type = DistributedType.MULTI_GPU if shards else DistributedType.MULTI_CPU
        program = (Program if os.environ["RANK"] == "0" else Follower)(Path(folder))
        ended = program.run(stop_after(int(step)) if step else main)
        torch.distributed.barrier()
        (program.folder / "stop").unlink(missing_ok=True)
        code = ended if ended not in (0, 3) else code
    torch.distributed.destroy_process_group()
    return code


if __name__ == "__main__":
    leave(start(sys.argv[1:]))
