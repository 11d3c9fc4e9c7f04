"""What the estimates need to know of a base model: from the registry's facts, else from its files, else a guess."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from models_registry.inference.folders import check_model_folder
from models_registry.inference.program import ProgramError
from models_registry.models import ModelVersion

_ASPECT = 64
"""Width over layers of a model that is known by its parameters alone; the usual ones lie between 20 and 130."""


@dataclass(frozen=True)
class ModelShape:
    parameters: int
    """Tied ones once."""
    layers: int
    width: int
    inner: int
    """Width within the feed-forward parts."""
    vocabulary: int
    head: int = 0
    """Parameters of an output head that is no copy of the embeddings."""
    adapter_width: int = 0
    """Parameters of LoRA adapters of rank 1."""
    context_length: int | None = None
    stored: int = 0
    """Bytes of the weights as they lie on disk."""
    files: int = 4_000_000
    """Bytes of tokenizer, configuration and texts; these of a vocabulary of 50,000 where it is not known."""
    is_guess: bool = False

    @property
    def embedding(self) -> int:
        return self.vocabulary * self.width

    @property
    def body(self) -> int:
        """Parameters that every position is multiplied with."""
        return max(1, self.parameters - self.embedding - self.head)

    def count_whole(self, method: str) -> int:
        """Parameters of the model in training: a reward model has a score in place of the output head."""
        return self.parameters - self.head + self.width if method == "reward" else self.parameters

    def count_trained(self, method: str, lora_r: int) -> int:
        """LoRA leaves all as it is but its adapters, of a reward model also the score."""
        if not lora_r:
            return self.count_whole(method)
        return lora_r * self.adapter_width + (self.width if method == "reward" else 0)


def find_shape(model: ModelVersion) -> ModelShape:
    """Of a model that was registered before the registry filed its shape, the headers of its files are read."""
    facts = model.facts
    if not facts.get("layers"):
        facts = facts | _read_folder(model.folder)
    return make_shape(facts)


def make_shape(facts: dict[str, Any]) -> ModelShape:
    """From what ``ModelFacts`` says; what it lacks is guessed.

    A model known by its parameters N alone is taken for one of N = 12·l·h² (Kaplan et al., arXiv 2001.08361, section
    2.1) with h = 64·l.
    """
    parameters = max(1, int(facts.get("parameters") or 0))
    is_guess = not (facts.get("layers") and facts.get("width"))
    if is_guess:
        layers = max(1, round((parameters / (12 * _ASPECT**2)) ** (1 / 3)))
        width = _ASPECT * layers
    else:
        layers, width = int(facts["layers"]), int(facts["width"])
    inner = int(facts.get("inner") or 4 * width)
    attention, feed_forward = 4 * 2 * width, 2 * (width + inner)
    return ModelShape(
        parameters=parameters,
        layers=layers,
        width=width,
        inner=inner,
        vocabulary=0 if is_guess else int(facts.get("vocabulary") or 0),
        head=0 if is_guess else int(facts.get("head") or 0),
        adapter_width=int(facts.get("adapter_width") or 0) or layers * (attention + feed_forward),
        context_length=facts.get("context_length"),
        stored=int(facts.get("size_bytes") or 2 * parameters),
        **({"files": int(facts["bytes"]) - int(facts["size_bytes"])} if facts.get("bytes") else {}),
        is_guess=is_guess,
    )


@lru_cache(maxsize=64)
def _read_folder(folder: Path) -> dict[str, Any]:
    """A model's files never change; empty where they are not on this machine."""
    try:
        return vars(check_model_folder(folder))
    except (ProgramError, OSError):
        return {}
