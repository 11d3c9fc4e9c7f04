"""The model in training: loaded from the base, with or without LoRA adapters, and saved as a plain folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from models_registry.inference.folders import check_model_folder
from models_registry.inference.load import load_policy, load_reward_model
from models_registry.inference.program import ProgramError
from training.engine.attention import TREES
from training.engine.config import TrainingConfig
from training.engine.optimizer import list_trainable, restore_weights
from training.engine.sizes import STATE_BYTES, measure_activations, measure_least_room

CGROUP = Path("/sys/fs/cgroup")


def load_trainee(folder: Path, tokenizer: PreTrainedTokenizerBase, config: TrainingConfig, *, reward: bool) -> Any:
    """The base in fp32, dropout off, ready to be trained.

    Dropout stays off because the reference's log-probabilities are those of the whole model.
    """
    model: Any = (load_reward_model if reward else load_policy)(folder, torch.float32)
    known = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > known:
        raise ProgramError("bad_model", f"The tokenizer knows {len(tokenizer)} tokens, the model only {known}.")
    switch_dropout_off(model)
    if config.attention == "flex":
        if not torch.cuda.is_available():
            raise ProgramError("bad_config", "attention: flex needs a GPU; PyTorch cannot train with it on a CPU.")
        model.set_attn_implementation("flex_attention")
    elif config.attention == "auto" and not torch.cuda.is_available() and model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(TREES)
    return model


def enable_checkpointing(model: Any) -> None:
    """Lets layers forget their activations and compute them again for the gradient."""
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    model.enable_input_require_grads()


def estimate_memory(model: Any, positions: int, *, bf16: bool) -> int:
    """Bytes that training holds beside the weights for a batch of so many positions, without the head's logits."""
    text = model.config.get_text_config()
    layers, width = int(text.num_hidden_layers), int(text.hidden_size)
    inner = int(getattr(text, "intermediate_size", None) or 4 * width)
    trained = sum(weight.numel() for weight in list_trainable(model).values())
    activations = measure_activations(positions, layers=layers, width=width, inner=inner, bf16=bf16)
    return activations + STATE_BYTES * trained


def measure_free_memory(device: torch.device) -> int:
    """Bytes that a program may still take on the device; on a CPU what machine and container have both left."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = measure_container_rest(CGROUP)
    for line in Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []:
        if line.startswith("MemAvailable:"):
            free = min(free, int(line.split()[1]) * 1024)
    return free


def measure_container_rest(cgroup: Path) -> int:
    """Bytes up to the limit of a control group (version 2); caches of files, which give way, count as free."""
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        return limit - used + int(stat["inactive_file"])
    except (OSError, ValueError, KeyError):  # no container, or "max"
        return 2**63 - 1


def switch_dropout_off(model: Any) -> None:
    """Sets every dropout probability to 0, in modules and in the configuration that attention reads."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0


def add_adapters(model: Any, config: TrainingConfig, *, reward: bool) -> Any:
    """LoRA on all linear layers; a reward model's score head is trained whole and saved with it."""
    from peft import LoraConfig, get_peft_model  # half a second that other runs need not wait for

    torch.manual_seed(config.seed)
    return get_peft_model(
        model,
        LoraConfig(
            r=config.lora_r,
            lora_alpha=config.lora_alpha,
            lora_dropout=0.0,
            target_modules="all-linear",
            task_type="SEQ_CLS" if reward else "CAUSAL_LM",
            modules_to_save=["score"] if reward else None,
        ),
    )


def rebuild_whole(
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    config: TrainingConfig,
    weights: dict[str, Tensor],
    *,
    reward: bool,
) -> Any:
    """The base with these trained weights, on the CPU: a sharded model as :func:`export_model` takes it."""
    model = load_trainee(folder, tokenizer, config, reward=reward)
    if config.lora_r:
        model = add_adapters(model, config, reward=reward)
    restore_weights(model, weights)
    return model


def require_disk_space(folder: Path, model: Any) -> None:
    """Fails early when two checkpoints and the final model cannot fit: a full disk after hours helps nobody."""
    trainable = sum(weight.numel() for weight in list_trainable(model).values())
    needed = measure_least_room(trainable, sum(weight.numel() for weight in model.parameters()))
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ProgramError(
            "disk_full", f"The run needs about {needed / 1e9:.1f} GB on disk, {free / 1e9:.1f} GB are free."
        )


def export_model(model: Any, tokenizer: PreTrainedTokenizerBase, card: str, folder: Path) -> None:
    """Writes the trained model as a plain transformers folder (adapters merged), whole or not at all."""
    plain = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    scratch = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(scratch, ignore_errors=True)
    plain.config.use_cache = True
    plain.save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    (scratch / "README.md").write_text(card, encoding="utf-8")
    check_model_folder(scratch)
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)
