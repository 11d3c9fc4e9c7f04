"""Running averages that stay on the device until someone reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from training.engine.context import Context
from training.engine.methods.base import Terms


class Tally:
    """Sums over the pairs, tokens and steps since the last reading."""

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        state = state or {}
        self.sums: dict[str, Tensor] = {name: torch.tensor(total) for name, total in state.get("sums", {}).items()}
        self.pairs: int = state.get("pairs", 0)
        self.tokens: int = state.get("tokens", 0)
        self.steps: int = state.get("steps", 0)

    def add_terms(self, terms: Terms, weights: Tensor) -> None:
        """Adds one micro-batch of this process."""
        for name, values in terms.logged.items():
            self._add(name, (values * weights).sum())
        if terms.token_loss is not None:
            self._add("nll_loss", (terms.token_loss.detach() * weights).sum())

    def add_step(self, loss: Tensor, grad_norm: Tensor, pairs: int, tokens: int) -> None:
        """Closes one step; ``loss`` is this process's share of it, the counts are those of all processes."""
        self._add("loss", loss)
        self._add("grad_norm", grad_norm.detach())
        self.pairs, self.tokens, self.steps = self.pairs + pairs, self.tokens + tokens, self.steps + 1

    def read(self, context: Context) -> dict[str, float]:
        """Averages over all processes; the one place where the device is waited for."""
        if not self.steps:
            return {}
        names = sorted(self.sums)
        stacked = torch.stack([self.sums[name].to(context.device, torch.float64) for name in names])
        if context.accelerator.num_processes > 1:
            stacked = context.accelerator.reduce(stacked, "sum")
        per = {"loss": self.steps, "grad_norm": self.steps * context.accelerator.num_processes, "nll_loss": self.tokens}
        totals = zip(names, stacked.tolist(), strict=True)
        return {name: total / max(1, per.get(name, self.pairs)) for name, total in totals}

    def get_state(self) -> dict[str, Any]:
        """For a checkpoint."""
        sums = {name: float(total) for name, total in self.sums.items() if torch.isfinite(total)}
        return {"sums": sums, "pairs": self.pairs, "tokens": self.tokens, "steps": self.steps}

    def _add(self, name: str, value: Tensor) -> None:
        value = value.to(torch.float32)
        self.sums[name] = self.sums[name].to(value.device) + value if name in self.sums else value
