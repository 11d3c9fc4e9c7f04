"""Converting a GGUF file gives the model and the tokenizer that it was written from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models_registry.inference.convert_gguf import convert_gguf
from models_registry.inference.folders import check_model_folder
from models_registry.inference.load import load_policy, load_tokenizer
from models_registry.inference.program import ProgramError, read_json
from tests.models_registry.inference.tiny_gguf import write_gguf


def test_the_converted_model_has_the_weights_of_the_original(tmp_path: Path, policy: Path) -> None:
    convert_gguf(write_gguf(policy, tmp_path / "tiny.gguf"), tmp_path / "model", name="tiny")
    facts = check_model_folder(tmp_path / "model")
    assert (facts.architecture, facts.kind, facts.context_length) == ("LlamaForCausalLM", "policy", 512)
    assert facts.has_chat_template
    assert read_json(tmp_path / "model" / "config.json")["dtype"] == "bfloat16"

    original = load_policy(policy, torch.bfloat16).state_dict()
    converted = load_policy(tmp_path / "model", torch.bfloat16).state_dict()
    assert converted.keys() == original.keys()
    for name, weight in original.items():
        assert torch.equal(converted[name], weight), name


def test_the_tokenizer_and_its_template_survive(tmp_path: Path, policy: Path) -> None:
    convert_gguf(write_gguf(policy, tmp_path / "tiny.gguf"), tmp_path / "model", name="tiny")
    original, converted = load_tokenizer(policy), load_tokenizer(tmp_path / "model")
    chat = [{"role": "user", "content": "Can you tell me how to bake bread in 2024?"}]
    assert converted.apply_chat_template(chat) == original.apply_chat_template(chat)
    assert (converted.eos_token, converted.pad_token) == ("<|im_end|>", "<|pad|>")
    assert read_json(tmp_path / "model" / "generation_config.json")["do_sample"] is True


def test_the_smollm_family_splits_digits_before_anything_else(tmp_path: Path, policy: Path) -> None:
    """Two spaces before a number: GPT-2's pattern parts them, the SmolLM tokenizer keeps them together."""
    pieces = {}
    for pre in ("gpt-2", "smollm"):
        source = write_gguf(policy, tmp_path / f"{pre}.gguf", pre_tokenizer=pre)
        convert_gguf(source, tmp_path / pre, name="tiny")
        splitter = load_tokenizer(tmp_path / pre).backend_tokenizer.pre_tokenizer
        pieces[pre] = [piece for piece, _ in splitter.pre_tokenize_str("in  2024")]
    assert pieces["gpt-2"] == ["in", "Ġ", "Ġ2024"]
    assert pieces["smollm"] == ["in", "ĠĠ", "2", "0", "2", "4"]


def test_a_file_that_is_no_gguf_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + b"\0" * 40)
    with pytest.raises(ProgramError, match="could not be read as a GGUF model") as caught:
        convert_gguf(tmp_path / "bad.gguf", tmp_path / "model", name="bad")
    assert caught.value.code == "bad_model"
    assert not (tmp_path / "model").exists()
