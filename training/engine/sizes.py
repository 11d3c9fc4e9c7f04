"""Counts and sizes that the engine goes by and that can be told before a run; so the launch page tells the same.

No torch here: the web process imports it.
"""

from __future__ import annotations

import math

POSITIONS_PER_PASS = {"cpu": 2048, "cuda": 16384}
"""What one forward pass takes in on a device, padding included, where the settings leave it open."""
MEMORY_SHARE = 0.8
"""Of the free memory that activations and optimizer may take."""
WEIGHT_BYTES = 4
"""Weights are held, trained and saved in fp32."""
STATE_BYTES = 12
"""A trained weight's gradient and AdamW's two moments, fp32."""
HEAD_CHUNK = 2**26
"""Logits held at once (256 MiB in fp32); beyond that the head works in chunks and recomputes them for the gradient."""


def count_steps(rows: int, *, micro_size: int, accumulation: int, epochs: float, max_steps: int = 0) -> tuple[int, int]:
    """Steps of one epoch and of the whole run; ``micro_size`` is the batch size times the processes."""
    per_epoch = math.ceil(math.ceil(rows / micro_size) / accumulation)
    by_epochs = max(1, math.ceil(epochs * per_epoch))
    return per_epoch, min(by_epochs, max_steps or by_epochs)


def count_pass_positions(longest: int, rows: int, positions_per_pass: int) -> int:
    """Most positions of a forward pass over ``rows`` rows of at most ``longest``: a longer row stands alone."""
    return min(max(positions_per_pass, longest), rows * longest)


def measure_activations(positions: int, *, layers: int, width: int, inner: int, bf16: bool) -> int:
    """Bytes that a forward pass keeps for the gradient, without the output head.

    The shape is that of Korthikanti et al. (arXiv 2205.05198), equation 2, without dropout and without the attention
    scores, which fused kernels do not keep: bytes a position and layer, one part by the hidden width h and one by the
    inner width i of the feed-forward part. Theirs come to 34 h for i = 4 h in 16 bit. Here norms and residuals stay in
    fp32 and gates count too: 52 h + 16 i in fp32 and 52 h + 8 i in bf16 is what PyTorch's saved tensors come to on a
    Llama (h = 288, i = 768: 94.2 h and 72.9 h measured, torch 2.13, transformers 5.23).
    """
    return positions * layers * (52 * width + (8 if bf16 else 16) * inner)


def needs_checkpointing(needed: int, free: int) -> bool:
    """Whether activations and optimizer state of so many bytes are too much for what is free, in bytes."""
    return needed > MEMORY_SHARE * free


def measure_checkpoint(trainable: int) -> int:
    """Bytes of a checkpoint: each trained weight and AdamW's two moments of it."""
    return 3 * WEIGHT_BYTES * trainable


def measure_least_room(trainable: int, parameters: int) -> int:
    """Bytes without which a run does not begin: two checkpoints and the model."""
    return 2 * measure_checkpoint(trainable) + WEIGHT_BYTES * parameters
