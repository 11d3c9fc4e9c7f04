"""Which folders are models: facts from headers, refusals in words, loading that is the same each time."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from models_registry.inference.folders import ModelFolderError, check_model_folder
from models_registry.inference.load import load_policy, load_reward_model, load_tokenizer
from tests.tiny_models import make_tiny_policy


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_policy(tmp_path_factory.mktemp("models") / "policy")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy to be spoiled."""
    copy = tmp_path / "policy"
    copy.mkdir()
    for path in original.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def change_json(path: Path, **changes: Any) -> None:
    value = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(value | changes), encoding="utf-8")


def test_facts_come_from_the_headers(original: Path) -> None:
    facts = check_model_folder(original)
    model = load_policy(original, torch.float32)
    assert facts.parameters == sum(weight.numel() for weight in model.parameters())
    assert (facts.architecture, facts.model_type, facts.kind) == ("LlamaForCausalLM", "llama", "policy")
    assert (facts.context_length, facts.has_chat_template) == (512, True)
    assert facts.size_bytes == (original / "model.safetensors").stat().st_size
    assert (facts.dtype, facts.vocabulary) == ("F32", model.config.vocab_size)


def test_shards_are_counted_together(original: Path, tmp_path: Path) -> None:
    load_policy(original, torch.float32).save_pretrained(tmp_path / "sharded", max_shard_size="300KB")
    load_tokenizer(original).save_pretrained(tmp_path / "sharded")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    assert check_model_folder(tmp_path / "sharded").parameters == check_model_folder(original).parameters


def spoil_with_pickle(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"pickle")


def spoil_with_code(folder: Path) -> None:
    change_json(folder / "config.json", auto_map={"AutoModelForCausalLM": "evil.Model"})


def spoil_with_nested_code(folder: Path) -> None:
    change_json(folder / "config.json", text_config={"layers": [{"trust_remote_code": True}]})


def spoil_tokenizer_with_code(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tokenizer", None]})


def spoil_with_kernel(folder: Path) -> None:
    change_json(folder / "config.json", _attn_implementation="someone/kernels")


def spoil_with_quantisation(folder: Path) -> None:
    change_json(folder / "config.json", quantization_config={"bits": 4})


def spoil_architecture(folder: Path) -> None:
    change_json(folder / "config.json", architectures=["ViTForImageClassification"])


def spoil_labels(folder: Path) -> None:
    change_json(folder / "config.json", architectures=["LlamaForSequenceClassification"], id2label={"0": "a", "1": "b"})


def spoil_config(folder: Path) -> None:
    (folder / "config.json").write_text("{", encoding="utf-8")


def spoil_depth(folder: Path) -> None:
    (folder / "config.json").write_text('{"a":' * 100_000, encoding="utf-8")


def turn_into_adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


def lose_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def lose_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def cut_weights(folder: Path) -> None:
    os.truncate(folder / "model.safetensors", 5000)


def lie_about_header(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(struct.pack("<Q", 2**60))


def lose_a_shape(folder: Path) -> None:
    header = b'{"a": {"dtype": "F32", "data_offsets": [0, 4]}}'
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"1234")


def point_outside(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    change_json(folder / "model.safetensors.index.json", weight_map={"a": "../outside.safetensors"})


@pytest.mark.parametrize(
    ("spoil", "code", "word"),
    [
        (spoil_with_pickle, "pickle", "pytorch_model.bin"),
        (spoil_with_code, "remote_code", "config.json asks for code of its own (auto_map)"),
        (spoil_with_nested_code, "remote_code", "trust_remote_code"),
        (spoil_tokenizer_with_code, "remote_code", "tokenizer_config.json"),
        (spoil_with_kernel, "remote_code", "someone/kernels"),
        (spoil_with_quantisation, "quantized", "fp32 or bf16"),
        (spoil_architecture, "unsupported_model", "ViTForImageClassification"),
        (spoil_labels, "unsupported_model", "has 2 labels"),
        (spoil_config, "bad_config", "config.json is no valid JSON"),
        (spoil_depth, "bad_config", "config.json is no valid JSON"),
        (turn_into_adapter, "no_config", "merge it"),
        (lose_weights, "no_weights", "only safetensors"),
        (lose_tokenizer, "no_tokenizer", "tokenizer.json"),
        (cut_weights, "bad_weights", "copy it again"),
        (lie_about_header, "bad_weights", "longer than the file"),
        (lose_a_shape, "bad_weights", "no valid safetensors file"),
        (point_outside, "bad_weights", "no file of this folder"),
    ],
)
def test_refused_folder_says_why(folder: Path, spoil: Callable[[Path], None], code: str, word: str) -> None:
    spoil(folder)
    for use in (check_model_folder, load_tokenizer, lambda path: load_policy(path, torch.float32)):
        with pytest.raises(ModelFolderError) as caught:
            use(folder)
        assert caught.value.code == code and word in str(caught.value)


def test_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="no model folder"):
        check_model_folder(tmp_path / "absent")


def test_missing_weight_is_not_filled_in_at_random(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for load in (load_policy, load_reward_model):
        with pytest.raises(ModelFolderError, match=r"lack model\.norm\.weight"):
            load(folder, torch.float32)


def test_new_score_head_is_the_same_each_time_and_a_saved_one_is_kept(original: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first: Any = load_reward_model(original, torch.float32)
    torch.manual_seed(2)
    second: Any = load_reward_model(original, torch.float32)
    assert torch.equal(first.score.weight, second.score.weight)
    assert first.score.weight.std().item() == pytest.approx(0.02, rel=0.3)

    with torch.no_grad():
        first.score.weight.fill_(0.5)
    first.save_pretrained(tmp_path / "reward")
    load_tokenizer(original).save_pretrained(tmp_path / "reward")
    assert check_model_folder(tmp_path / "reward").kind == "reward"
    loaded: Any = load_reward_model(tmp_path / "reward", torch.float32)
    assert torch.equal(loaded.score.weight, first.score.weight)
    with pytest.raises(ModelFolderError, match="a language model is needed"):
        load_policy(tmp_path / "reward", torch.float32)


def test_padding_is_not_the_end_of_a_turn_where_another_token_can_be_had(original: Path, tmp_path: Path) -> None:
    """transformers reads a score at the last token that is not padding: with pad = EOS it would miss the end."""
    tokenizer = load_tokenizer(original)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(tmp_path / "same")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "same" / name).write_bytes((original / name).read_bytes())
    loaded = load_tokenizer(tmp_path / "same")
    assert loaded.pad_token == "<|pad|>"
    assert load_reward_model(tmp_path / "same", torch.float32).config.pad_token_id == loaded.pad_token_id
