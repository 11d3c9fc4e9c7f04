"""Small tokenizers in the style of the families that people train: their splitting, control tokens and chat templates.

What a family does is told by its published tokenizer.json and chat template; the templates here are our own short words
for the same rendering (no tools, no dates). The vocabularies are trained on a few sentences on the spot.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tests.tiny_models import CHAT_TEMPLATE

_CORPUS = [
    "What is the capital of France? The capital of France is Paris.",
    "Can you tell me how to bake bread? You need flour, water, salt and yeast.",
    "You are a helpful assistant. Here is a short and helpful answer to the question that you asked the user.",
    "Human: Assistant: [INST] [/INST] user model system assistant start end turn header",
    "한국의 수도는 서울입니다. 프랑스의 수도는 파리입니다.",
    "法国的首都是巴黎。日本の首都は東京です。",
    "ما هي عاصمة فرنسا؟ عاصمة فرنسا هي باريس.",
]
_LINES = ["Yes\n\n\nNo"] * 3
"""For the byte-level ones, which have tokens for several line feeds; sentencepiece spells these in bytes."""

DEFAULT_SYSTEM = "You are a helpful assistant."
_CHATML_WITH_DEFAULT_SYSTEM = (
    "{%- if messages[0].role != 'system' %}{{ '<|im_start|>system\n" + DEFAULT_SYSTEM + "<|im_end|>\n' }}{% endif %}"
) + CHAT_TEMPLATE

_LLAMA2_TEMPLATE = (
    "{%- set ns = namespace(system='') %}"
    "{%- if messages[0].role == 'system' %}"
    "{%- set ns.system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}{% set messages = messages[1:] %}"
    "{%- endif %}"
    "{%- for message in messages %}"
    "{%- if (message.role == 'user') == (loop.index0 % 2) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{%- if message.role == 'user' %}"
    "{{ bos_token + '[INST] ' + ((ns.system if loop.first else '') + message.content).strip() + ' [/INST]' }}"
    "{%- else %}{{ ' ' + message.content.strip() + ' ' + eos_token }}{%- endif %}"
    "{%- endfor %}"
)
_LLAMA3_TEMPLATE = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_GEMMA_TEMPLATE = (
    "{{- bos_token }}"
    "{%- if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{%- for message in messages %}"
    "{%- if (message.role == 'user') == (loop.index0 % 2) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\n' }}"
    "{{- message.content | trim + '<end_of_turn>\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
# Qwen's template also tells of tools, in tokens that are not special.
_QWEN_TEMPLATE = (
    "{%- if tools %}{{ 'Answer within <tool_call></tool_call>.' }}{% endif %}"
) + _CHATML_WITH_DEFAULT_SYSTEM

_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3_SPLIT = _QWEN_SPLIT.replace(r"\p{N}|", r"\p{N}{1,3}|")


@cache
def train_family(family: str) -> Any:
    """The tokenizer of a family in ``FAMILIES``; shared, so nobody may change it."""
    return FAMILIES[family]()


def _train_llama2(prepend: str = "first", template: str | None = _LLAMA2_TEMPLATE) -> Any:
    """Sentencepiece as converted: no splitting, ▁ for a space and before the first word, bytes for unknown letters."""
    from tokenizers import decoders, pre_tokenizers

    tokenizer = _train_bpe(["<unk>", "<s>", "</s>"], pre_tokenizers.Metaspace(), byte_fallback=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend, split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _wrap(tokenizer, template, adds_bos=True, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def _train_gemma() -> Any:
    """Sentencepiece without the first ▁; runs of line feeds are tokens of their own."""
    from tokenizers import AddedToken, decoders, normalizers, pre_tokenizers

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    tokenizer = _train_bpe(special, pre_tokenizers.Metaspace(prepend_scheme="never"), byte_fallback=True)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_tokens([AddedToken("\n" * count, normalized=False) for count in (1, 2, 3)])
    return _wrap(tokenizer, _GEMMA_TEMPLATE, adds_bos=True, bos_token="<bos>", eos_token="<eos>", unk_token="<unk>")


def _train_llama3() -> Any:
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    special += [f"<|reserved_special_token_{number}|>" for number in range(20)]
    tokenizer = _train_byte_level(special, _LLAMA3_SPLIT)
    return _wrap(tokenizer, _LLAMA3_TEMPLATE, adds_bos=True, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")


def _train_qwen() -> Any:
    from tokenizers import AddedToken, normalizers

    tokenizer = _train_byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], _QWEN_SPLIT)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in ("<tool_call>", "</tool_call>")])
    return _wrap(tokenizer, _QWEN_TEMPLATE, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def _train_smollm() -> Any:
    from tokenizers import pre_tokenizers

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<file_sep>"]
    tokenizer = _train_byte_level(special)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    names: dict[str, Any] = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>"}
    return _wrap(tokenizer, _CHATML_WITH_DEFAULT_SYSTEM, **names)


def _train_gpt2() -> Any:
    end = "<|endoftext|>"
    return _wrap(_train_byte_level([end]), None, bos_token=end, eos_token=end, unk_token=end)


FAMILIES = {
    "llama2": _train_llama2,
    "llama2-legacy": lambda: _train_llama2("always"),  # ▁ after every control token, as the first conversions had it
    "llama-base": lambda: _train_llama2(template=None),
    "llama3": _train_llama3,
    "qwen": _train_qwen,
    "gemma": _train_gemma,
    "smollm": _train_smollm,
    "gpt2": _train_gpt2,
}


def _train_byte_level(special: list[str], split: str | None = None) -> Any:
    from tokenizers import Regex, decoders, pre_tokenizers

    pre_tokenizer: Any = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    if split is not None:
        pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), "isolated"), pre_tokenizer])
    tokenizer = _train_bpe(special, pre_tokenizer, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _train_bpe(special: list[str], pre_tokenizer: Any, byte_fallback: bool = False, **options: Any) -> Any:
    from tokenizers import Tokenizer, models, trainers

    tokenizer = Tokenizer(models.BPE(byte_fallback=byte_fallback, unk_token="<unk>" if byte_fallback else None))
    tokenizer.pre_tokenizer = pre_tokenizer
    corpus = _CORPUS if byte_fallback else [*_CORPUS, *_LINES]
    octets = [f"<0x{octet:02X}>" for octet in range(256)] if byte_fallback else []
    trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=special + octets, show_progress=False, **options)
    tokenizer.train_from_iterator(corpus, trainer)
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = state["added_tokens"][: len(special)]  # the octets are vocabulary, not control tokens
    return Tokenizer.from_str(json.dumps(state))


def _wrap(tokenizer: Any, template: str | None, *, adds_bos: bool = False, **names: Any) -> Any:
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    from models_registry.inference.chat import ensure_chat_template

    if adds_bos:
        bos = names["bos_token"]
        tokenizer.post_processor = TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    wrapped: Any = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)  # type: ignore[no-untyped-call]
    wrapped.chat_template = template
    ensure_chat_template(wrapped)
    return wrapped
