"""Running averages that stay on the device until someone reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from training.engine.context import Context
from training.engine.methods.base import Terms


class Tally:
    """Sums over the rows, tokens and steps since the last reading; each process has those of its own rows."""

    def __init__(self, state: Mapping[str, Any] | None = None, *, share: float = 1.0) -> None:
        """``state`` is that of all processes together: one takes it whole, the others take a share of 0."""
        state = state or {}
        self.sums = {name: torch.tensor(share * total) for name, total in state.get("sums", {}).items()}
        self.counts = {name: torch.tensor(share * count) for name, count in state.get("counts", {}).items()}
        self.tokens: int = state.get("tokens", 0)
        self.steps: int = state.get("steps", 0)

    def add_terms(self, terms: Terms, present: Tensor) -> None:
        """Adds one micro-batch of this process; NaN is no value."""
        for name, values in terms.logged.items():
            counted = present * ~values.isnan()
            self._add(name, (values.nan_to_num() * counted).sum(), counted.sum())
        if terms.token_loss is not None:
            self._add("nll_loss", (terms.token_loss.detach() * present).sum(), present.sum())

    def add_step(self, loss: Tensor, grad_norm: Tensor, tokens: int) -> None:
        """Closes one step; ``loss`` is this process's share of it, ``tokens`` those of all processes."""
        one = torch.ones((), device=loss.device)
        self._add("loss", loss, one)
        self._add("grad_norm", grad_norm.detach(), one)
        self.tokens, self.steps = self.tokens + tokens, self.steps + 1

    def read(self, context: Context) -> dict[str, float]:
        """Averages over all processes; the one place where the device is waited for."""
        sums, counts = self._add_up(context)
        per = counts | {"loss": self.steps, "nll_loss": self.tokens}
        return {name: total / per[name] for name, total in sums.items() if per[name]}

    def get_state(self, context: Context) -> dict[str, Any]:
        """Of all processes, for a checkpoint."""
        sums, counts = self._add_up(context)
        sums = {name: total for name, total in sums.items() if math.isfinite(total)}
        return {
            "sums": sums,
            "counts": {name: counts[name] for name in sums},
            "tokens": self.tokens,
            "steps": self.steps,
        }

    def _add_up(self, context: Context) -> tuple[dict[str, float], dict[str, float]]:
        """Sums and counts over all processes."""
        names = sorted(self.sums)
        if not names:
            return {}, {}
        stacked = torch.stack(
            [part[name].to(context.device, torch.float64) for part in (self.sums, self.counts) for name in names]
        )
        if context.accelerator.num_processes > 1:
            stacked = context.accelerator.reduce(stacked, "sum")
        sums, counts = stacked.view(2, -1).tolist()
        return dict(zip(names, sums, strict=True)), dict(zip(names, counts, strict=True))

    def _add(self, name: str, value: Tensor, count: Tensor) -> None:
        value, count = value.to(torch.float32), count.to(torch.float32)
        if name in self.sums:
            value = self.sums[name].to(value.device) + value
            count = self.counts[name].to(count.device) + count
        self.sums[name], self.counts[name] = value, count
