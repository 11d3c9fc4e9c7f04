"""What every part of a run shares: the program contract, the devices, the settings and the way to stop."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator

from models_registry.inference.program import Program
from training.engine.config import TrainingConfig
from training.engine.sizes import POSITIONS_PER_PASS

REPORT_EVERY_S = 3.0


class StopRequested(Exception):
    """Someone asked the run to leave; raised only where nothing is half done."""


@dataclass
class Context:
    program: Program
    accelerator: Accelerator
    config: TrainingConfig
    pad_id: int
    notes: list[str] = field(default_factory=list)
    """Things that went differently than asked, in words, for the result."""
    _reported_at: float = 0.0

    @property
    def device(self) -> torch.device:
        device: torch.device = self.accelerator.device
        return device

    @property
    def positions_per_pass(self) -> int:
        """What one forward pass may take in on each device, padding included."""
        return self.config.tokens_per_pass or POSITIONS_PER_PASS["cpu" if self.device.type == "cpu" else "cuda"]

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.print(text)

    def print(self, text: str) -> None:
        if self.accelerator.is_main_process:
            print(text, flush=True)

    def log_metrics(self, values: dict[str, Any]) -> None:
        """Files one line of the curves, and sends it to the tracker if there is one."""
        self.program.log_metrics(values)
        self.accelerator.log(values, step=values["step"])

    def check_stop(self) -> None:
        """Raises :class:`StopRequested` in all processes when one of them was asked to leave."""
        if self.any_process(self.program.stop_reason is not None):
            self.program.stop_with_others()
            raise StopRequested

    def any_process(self, here: bool) -> bool:
        """Whether it is so in at least one process: how all come to the same decision. All have to ask."""
        if self.accelerator.num_processes == 1:
            return here
        flag = torch.tensor([float(here)], device=self.device)
        return bool(self.accelerator.reduce(flag, "sum").item() > 0)

    def report(self, message: str, *, always: bool = True, **fields: object) -> None:
        """Writes the status; with ``always=False`` only when the last one is a few seconds old."""
        now = time.monotonic()
        if always or now - self._reported_at > REPORT_EVERY_S:
            self.program.report("running", message=message, **fields)
            self._reported_at = now
