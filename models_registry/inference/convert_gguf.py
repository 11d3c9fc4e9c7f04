"""Turns one GGUF file into a plain model folder: safetensors in bf16, tokenizer, chat template, generation settings.

A model loaded from GGUF with its blocks kept cannot be saved, so the weights are unpacked while loading. bf16 is ample
for weights that had four or five bits each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models_registry.inference.program import ProgramError

GENERATION_DEFAULTS = {"do_sample": True, "temperature": 0.7, "top_p": 0.95}
"""What a chat with the model starts from; sampling jobs always bring settings of their own."""


def convert_gguf(source: Path, target: Path, *, name: str) -> None:
    """Writes the model of ``source`` into the new folder ``target``; ``name`` is what its config calls it.

    Raises ProgramError ``bad_model`` when the file cannot be read as a model with a tokenizer.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig

    try:
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        model = AutoModelForCausalLM.from_pretrained(
            source.parent,
            gguf_file=source.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
        )
    except (ValueError, KeyError, NotImplementedError, RuntimeError, OSError) as error:
        raise ProgramError("bad_model", f"{source.name} could not be read as a GGUF model: {error}") from error
    _split_as_trained(tokenizer, source)
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.config._name_or_path = name
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **GENERATION_DEFAULTS,
    )
    target.mkdir(parents=True)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _split_as_trained(tokenizer: Any, source: Path) -> None:
    """Gives the SmolLM family back the splitting of digits, which the GGUF names but the loader does not know.

    llama.cpp's table (``LLAMA_VOCAB_PRE_TYPE_SMOLLM``): single digits first, then GPT-2's pattern.
    """
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers

    field = GGUFReader(source).fields.get("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
