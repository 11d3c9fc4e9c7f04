"""Sends a run's metrics to TensorBoard, W&B or MLflow too, by accelerate's trackers.

TensorBoard's files lie in the run folder. Where W&B and MLflow send to, and as whom, is for the worker's environment to
say (``WANDB_*``, ``MLFLOW_TRACKING_URI``); without it both write into the run folder as well.
"""

from __future__ import annotations

import importlib.util
import os
from datetime import timedelta
from typing import Any

from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from models_registry.inference.program import Program, ProgramError
from training.engine.spec import RunSpec

PROJECT = "plumbline"
PEER_TIMEOUT_S = float(os.environ.get("PLUMBLINE_PEER_TIMEOUT_S", "600"))
"""How long a process waits for the others before it takes them for lost: a wire that is cut says nothing."""
FOLDER = "trackers"
_PACKAGES = {"tensorboard": ("tensorboardX", "tensorboard"), "wandb": ("wandb",), "mlflow": ("mlflow",)}


def make_accelerator(program: Program, spec: RunSpec, *, cpu: bool) -> Accelerator:
    """The accelerator of a run, with the tracker that its settings name. Raises ProgramError ``no_tracker``."""
    tracker = spec.config.tracker
    options: dict[str, Any] = {}
    if tracker != "none":
        packages = _PACKAGES[tracker]
        if not any(importlib.util.find_spec(package) for package in packages):
            raise ProgramError("no_tracker", f"The tracker {tracker} needs the package {packages[0]} on the worker.")
        options = {"log_with": tracker, "project_dir": str(program.folder / FOLDER)}
        if tracker == "wandb" and not os.environ.get("WANDB_API_KEY"):
            os.environ.setdefault("WANDB_MODE", "offline")
        if tracker == "mlflow" and not os.environ.get("MLFLOW_TRACKING_URI"):
            # By itself it would make a database in the working directory; files need to be allowed since MLflow 3.
            os.environ["MLFLOW_TRACKING_URI"] = (program.folder / FOLDER / "mlflow").as_uri()
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    patience = InitProcessGroupKwargs(timeout=timedelta(seconds=PEER_TIMEOUT_S))
    # Autocast is the scorers' business.
    accelerator = Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=[patience], **options)
    if tracker != "none":
        name = program.folder.name if spec.name == "" else spec.name
        own = {"wandb": {"name": name, "dir": str(program.folder / FOLDER)}, "mlflow": {"run_name": name}}
        (program.folder / FOLDER).mkdir(exist_ok=True)
        init = {tracker: own[tracker]} if tracker in own else {}
        accelerator.init_trackers(PROJECT, config={"method": spec.method, **spec.config.to_dict()}, init_kwargs=init)
    return accelerator
