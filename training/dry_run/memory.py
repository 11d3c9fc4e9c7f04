"""The most memory that a device holds during training, by parts."""

from __future__ import annotations

from dataclasses import dataclass

from training.dry_run.device import Device
from training.dry_run.lengths import Lengths
from training.dry_run.shape import ModelShape
from training.engine.config import TrainingConfig
from training.engine.sizes import (
    HEAD_CHUNK,
    POSITIONS_PER_PASS,
    STATE_BYTES,
    WEIGHT_BYTES,
    count_pass_positions,
    measure_activations,
    needs_checkpointing,
)
from training.models import Layout, Sharding

BASE = {"cpu": 550_000_000, "cuda": 1_000_000_000}
"""What a program holds before it has loaded anything: on a CPU Python with its libraries (measured, see
benchmarks/README.md); on a GPU context and work space of CUDA and cuBLAS (a round figure, not measured)."""
MOST = 1024
"""The settings take no larger batch, and no more passes."""
_TOKEN_BYTES = 36
"""Of a token in a Python list: a reference and a number of its own."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one device; ``parts`` in the order in which they are shown."""

    parts: dict[str, int]
    positions: int
    """Of the largest forward pass, padding included."""
    recomputes: bool
    """Whether activations are computed twice, asked for or since they would not fit."""

    @property
    def total(self) -> int:
        return sum(self.parts.values())


@dataclass(frozen=True)
class Setup:
    """What decides how a run lies in memory, but its batch size."""

    shape: ModelShape
    config: TrainingConfig
    lengths: Lengths
    device: Device
    layout: Layout = Layout()  # noqa: RUF009 -- it cannot change

    @property
    def is_bf16(self) -> bool:
        """auto takes bf16 on a GPU; on a CPU it is measured there, so the larger is assumed."""
        precision = self.config.precision
        return self.device.kind == "cuda" if precision == "auto" else precision == "bf16"

    @property
    def trained(self) -> int:
        return self.shape.count_trained(self.config.method, self.config.lora_r)

    @property
    def whole(self) -> int:
        """Parameters in memory, adapters included."""
        method = self.config.method
        return self.shape.count_whole(method) + (self.trained if self.config.lora_r else 0)

    @property
    def row_positions(self) -> int:
        """Of the largest row, as it is laid out."""
        lengths = self.lengths
        if self.config.method == "sft" or not lengths.rejected:
            return lengths.longest
        return 2 * lengths.longest if self.config.layout == "plain" else lengths.largest

    @property
    def reply_share(self) -> float:
        """Of the positions of a row, those whose tokens the loss reads."""
        lengths, config = self.lengths, self.config
        if config.method == "reward":
            return 0.0
        if config.method == "orpo" and config.nll_over != "chosen":
            return 1.0
        replies = lengths.chosen + (0.0 if config.method == "sft" else lengths.rejected)
        return replies / (lengths.prompt + replies) if replies else 0.0


def estimate_memory(setup: Setup, batch_size: int) -> Memory:
    """For batches of so many rows on each device.

    Weights and optimizer: fp32 weights, gradients and AdamW's two moments, 16 bytes a trained parameter (Rajbhandari et
    al., arXiv 1910.02054, section 3.1, without the 16-bit copies of theirs); under bf16 each matrix is copied once in
    16 bit. Processes with copies hold the gradients twice (the buckets of DDP); with shards the fp32 part is divided,
    one layer is whole. The reference is the base before its first step and costs no memory.
    """
    shape, config, device = setup.shape, setup.config, setup.device
    limit = config.tokens_per_pass or POSITIONS_PER_PASS[device.kind]
    positions = count_pass_positions(setup.row_positions, min(batch_size, setup.lengths.rows), limit)
    parts = {"weights": WEIGHT_BYTES * setup.whole, "gradients": 4 * setup.trained, "optimizer": 8 * setup.trained}
    if setup.layout.sharding == Sharding.SHARDS:
        parts = {name: size // setup.layout.processes for name, size in parts.items()}
        parts["weights"] += WEIGHT_BYTES * (shape.body // shape.layers + shape.embedding)
    elif setup.layout.processes > 1:
        parts["gradients"] *= 2
    parts["reference"] = 0
    activations = measure_activations(
        positions, layers=shape.layers, width=shape.width, inner=shape.inner, bf16=setup.is_bf16
    )
    base = BASE[device.kind]
    if device.kind == "cpu":  # what the weights were read from is given back late, if at all
        base += _measure_data(setup.lengths) + shape.stored
    recomputes = config.gradient_checkpointing == "on"
    if config.gradient_checkpointing == "auto" and device.memory:
        needed = activations + STATE_BYTES * setup.trained
        recomputes = needs_checkpointing(needed, max(0, device.memory - parts["weights"] - base))
    head = 0 if config.method == "reward" else shape.head or shape.embedding
    if recomputes:  # what goes into each layer is kept, and all of one layer
        activations = positions * shape.layers * shape.width * WEIGHT_BYTES + activations // shape.layers
    if setup.is_bf16:
        parts["weights"] += 2 * ((shape.body // shape.layers if recomputes else shape.body) + head)
    parts["activations"] = activations
    parts["logits"] = _measure_logits(setup, positions)
    parts["base"] = base
    return Memory(parts, positions, recomputes)


def _measure_logits(setup: Setup, positions: int) -> int:
    """Bytes: the head keeps exponentials once on a CPU; cross entropy keeps logits, their fp32 copy, log-probabilities
    and gradient (see engine/head.py)."""
    elements = min(int(positions * setup.reply_share) * setup.shape.vocabulary, HEAD_CHUNK)
    if setup.device.kind == "cpu":
        return elements * (2 if setup.is_bf16 else 4)
    return elements * (16 if setup.is_bf16 else 12)


def _measure_data(lengths: Lengths) -> int:
    tokens = lengths.prompt + lengths.chosen + lengths.rejected
    return int(_TOKEN_BYTES * tokens * (lengths.rows + lengths.eval_rows))


def propose_batch(setup: Setup) -> int | None:
    """The largest batch size that fits and divides the rows of a step, so that these stay; None where none fits.

    One whose activations need not be computed twice goes first. Into a memory that is not known nothing fits.
    """
    rows = setup.config.batch_size * setup.config.gradient_accumulation
    sizes = [size for size in range(min(rows, MOST), 0, -1) if rows % size == 0 and rows // size <= MOST]
    found = {size: estimate_memory(setup, size) for size in sizes}
    fitting = [size for size in sizes if found[size].total <= setup.device.usable]
    return next((size for size in fitting if not found[size].recomputes), fitting[0] if fitting else None)
