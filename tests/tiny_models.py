"""Real, tiny models made on the spot: a Llama of about 0.3 million parameters with a byte-level BPE tokenizer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

TINY_VOCABULARY = 96
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)

_CORPUS = [
    "What is the capital of France? The capital of France is Paris.",
    "Can you tell me how to bake bread? You need flour, water, salt and yeast.",
    "I am sorry, I do not know. Please ask me something else.",
    "Here is a short and helpful answer to the question that you asked.",
    "the of and to in that it is was for on are with as his they be at one have this from or had by",
]


def make_tiny_policy(
    folder: Path,
    seed: int = 0,
    *,
    chat_template: str | None = CHAT_TEMPLATE,
    context_length: int = 512,
    width: int = 96,
) -> Path:
    """Writes a random Llama with its tokenizer into ``folder`` (under 2 s) and returns the folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = train_tiny_tokenizer(chat_template)
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=context_length,
            tie_word_embeddings=False,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    torch.random.set_rng_state(state)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


_SIZES = {
    "vocab_size": TINY_VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
_SIZES_GPT2 = {"vocab_size": TINY_VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": _SIZES,
    "qwen2": _SIZES | {"tie_word_embeddings": True},
    "gpt2": _SIZES_GPT2,
    "opt": {**_SIZES, "ffn_dim": 48, "word_embed_proj_dim": 16, "init_std": 0.2},
    "gemma2": _SIZES | {"head_dim": 8, "sliding_window": 64, "final_logit_softcapping": 2.0},
    "gemma3_text": _SIZES | {"head_dim": 8, "sliding_window": 64},
    "mistral": _SIZES | {"sliding_window": 64},
    "gpt_neo": {**_SIZES, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]},
    "bloom": {"vocab_size": TINY_VOCABULARY, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "mpt": {"vocab_size": TINY_VOCABULARY, "d_model": 32, "n_layers": 2, "n_heads": 4},
    "lfm2": _SIZES | {"layer_types": ["conv", "full_attention"]},
    "granite": _SIZES | {"logits_scaling": 4.0},
    "bert": _SIZES,
}
"""Sizes by transformers' name of the architecture."""


def make_tiny_architecture(name: str, *, reward: bool = False, **values: Any) -> Any:
    """A random model in eval mode; its weights are larger than usual, so that what is wrong shows. PAD is 0."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    sizes = {"initializer_range": 0.2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = AutoConfig.for_model(name, **{**sizes, **ARCHITECTURES[name], **values}, num_labels=1)
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    auto: Any = AutoModelForSequenceClassification if reward else AutoModelForCausalLM
    model = auto.from_config(config)
    torch.random.set_rng_state(state)
    return model.eval()


def train_tiny_tokenizer(chat_template: str | None = CHAT_TEMPLATE):  # type: ignore[no-untyped-def]
    """A byte-level BPE tokenizer of a few hundred tokens; pad differs from EOS, nothing is added by itself."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        _CORPUS, trainers.BpeTrainer(vocab_size=480, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bpe, pad_token="<|pad|>", bos_token="<|im_start|>", eos_token="<|im_end|>"
    )
    tokenizer.chat_template = chat_template
    return tokenizer
