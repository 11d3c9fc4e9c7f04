"""What a model folder must look like before anything is loaded from it; reads headers only and never imports torch.

Accepted is a plain transformers folder: ``config.json``, safetensors weights and a tokenizer. Refused are pickles (they
run code when read), folders that ask for code of their own, adapters without their base, and quantised weights.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models_registry.inference.program import ProgramError

Kind = Literal["policy", "reward"]

PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
REMOTE_CODE_KEYS = frozenset({"auto_map", "trust_remote_code", "custom_pipelines"})
CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "n_ctx")
LAYER_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
WIDTH_KEYS = ("hidden_size", "n_embd", "d_model")
INNER_KEYS = ("intermediate_size", "ffn_dim", "n_inner", "d_ff")
_HEAD = re.compile(r"(^|\.)(lm_head|embed_out|score)\.weight$")
_EMBEDDING = re.compile(r"(^|\.)(\w*embed\w*|wte|wpe)\.weight$")
MAX_JSON_BYTES = 64 * 1024 * 1024
MAX_HEADER_BYTES = 100 * 1024 * 1024
"""The limit that the safetensors format itself sets on a header."""


class ModelFolderError(ProgramError):
    """The folder cannot be used as a model; the message says why and what to do."""


@dataclass(frozen=True)
class ModelFacts:
    """What the registry files about a model folder."""

    architecture: str
    model_type: str
    kind: Kind
    parameters: int
    """As stored; tied weights are counted once."""
    context_length: int | None
    """Tokens; None when the configuration names no limit."""
    has_chat_template: bool
    size_bytes: int
    """Of the weight files."""
    dtype: str | None
    """The dtype that most tensors have, as safetensors names it: ``BF16``, ``F32``."""
    vocabulary: int | None
    layers: int | None = None
    width: int | None = None
    """Of the hidden states."""
    inner: int | None = None
    """Width within the feed-forward parts; None where the configuration leaves it to be four times the width."""
    head: int = 0
    """Parameters of an output head that is no copy of the embeddings."""
    adapter_width: int = 0
    """Inputs and outputs of all other matrices but embeddings, added up: parameters of LoRA of rank 1."""


@dataclass(frozen=True)
class _Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def check_model_folder(folder: Path | str) -> ModelFacts:
    """Reads the facts of ``folder``; raises :class:`ModelFolderError` when it must not or cannot be loaded."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelFolderError("no_model", f"There is no model folder at {folder}.")
    _refuse_pickles(folder)
    config = _read_object(folder / "config.json")
    if config is None:
        hint = " It holds an adapter: merge it into its base model first." if _is_adapter(folder) else ""
        raise ModelFolderError("no_config", f"The folder {folder.name} has no config.json.{hint}")
    for path in sorted(folder.glob("*config*.json")):
        _refuse_remote_code(path.name, _read_object(path) or {})
    if config.get("quantization_config"):
        raise ModelFolderError("quantized", "The weights are quantised; convert them to fp32 or bf16 first.")
    architecture, kind = _read_architecture(config)
    _require_tokenizer(folder)
    weights = find_weight_files(folder)
    tensors = [tensor for path in weights for tensor in _read_tensors(path)]
    dtypes = Counter(tensor.dtype for tensor in tensors).most_common(1)
    matrices = [tensor for tensor in tensors if len(tensor.shape) == 2 and not _EMBEDDING.search(tensor.name)]
    return ModelFacts(
        architecture=architecture,
        model_type=str(config.get("model_type", "")),
        kind=kind,
        parameters=sum(tensor.size for tensor in tensors),
        context_length=_find_number(config, CONTEXT_KEYS),
        has_chat_template=_has_chat_template(folder),
        size_bytes=sum(path.stat().st_size for path in weights),
        dtype=dtypes[0][0] if dtypes else None,
        vocabulary=_find_number(config, ("vocab_size",)),
        layers=_find_number(config, LAYER_KEYS),
        width=_find_number(config, WIDTH_KEYS),
        inner=_find_number(config, INNER_KEYS),
        head=sum(tensor.size for tensor in matrices if _HEAD.search(tensor.name)),
        adapter_width=sum(sum(tensor.shape) for tensor in matrices if not _HEAD.search(tensor.name)),
    )


def find_weight_files(folder: Path) -> list[Path]:
    """The safetensors files that together hold the weights, sorted by name."""
    single, index_path = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    index = _read_object(index_path)
    if index is None:
        raise ModelFolderError(
            "no_weights", f"The folder {folder.name} has no model.safetensors; only safetensors weights are accepted."
        )
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelFolderError("bad_weights", f"{index_path.name} has no weight_map.")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelFolderError("bad_weights", f"{index_path.name} names {name!r}, which is no file of this folder.")
        if not (folder / name).is_file():
            raise ModelFolderError("no_weights", f"The weight file {name} is missing.")
    return [folder / name for name in names]


def _refuse_pickles(folder: Path) -> None:
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in PICKLE_SUFFIXES)
    if pickles:
        raise ModelFolderError(
            "pickle",
            f"The folder holds pickled files ({', '.join(pickles[:3])}), which can run code when read. "
            "Convert the weights to safetensors and remove them.",
        )


def _is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()


def _refuse_remote_code(name: str, value: Any) -> None:
    for key, item in _walk(value):
        if key in REMOTE_CODE_KEYS:
            raise ModelFolderError("remote_code", f"{name} asks for code of its own ({key}); such models are refused.")
        if key in ("attn_implementation", "_attn_implementation") and isinstance(item, str) and "/" in item:
            raise ModelFolderError("remote_code", f"{name} asks for a downloaded kernel ({item}); it is refused.")


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    """All keys of nested objects. The nesting is bounded: the JSON parser has already read it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            yield from _walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)


def _read_architecture(config: dict[str, Any]) -> tuple[str, Kind]:
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    if name.endswith(("ForCausalLM", "LMHeadModel")):
        return name, "policy"
    if name.endswith("ForSequenceClassification"):
        labels = config.get("id2label") or {}
        count = len(labels) if labels else config.get("num_labels", 2)
        if count == 1:
            return name, "reward"
        raise ModelFolderError("unsupported_model", f"{name} has {count} labels; a reward model has exactly one.")
    raise ModelFolderError(
        "unsupported_model", f"The architecture {name or '(none named)'} is no causal language model or reward model."
    )


def _require_tokenizer(folder: Path) -> None:
    fast = (folder / "tokenizer.json").is_file()
    if not fast and not ((folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()):
        raise ModelFolderError("no_tokenizer", "The folder has no tokenizer.json (nor vocab.json with merges.txt).")


def _find_number(config: dict[str, Any], keys: Iterable[str]) -> int | None:
    """The first of ``keys`` that holds a positive number, in the configuration or that of its language model."""
    nested = config.get("text_config")
    for source in (config, nested if isinstance(nested, dict) else {}):
        for key in keys:
            value = source.get(key)
            if isinstance(value, int) and value > 0:
                return value
    return None


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    return bool((_read_object(folder / "tokenizer_config.json") or {}).get("chat_template"))


def _read_tensors(path: Path) -> list[_Tensor]:
    """What the header says; checks that the file is as long as that says."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(MAX_HEADER_BYTES, size):
                raise ValueError("the header is longer than the file")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        tensors = [_Tensor(name, str(entry["dtype"]), tuple(entry["shape"])) for name, entry in header.items()]
        sum(tensor.size for tensor in tensors)  # what is no shape fails here
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, struct.error) as error:
        raise ModelFolderError("bad_weights", f"{path.name} is no valid safetensors file: {error}") from error
    if size != 8 + length + end:
        raise ModelFolderError(
            "bad_weights", f"{path.name} is {size} bytes long, its header says {8 + length + end}; copy it again."
        )
    return tensors


def _read_object(path: Path) -> dict[str, Any] | None:
    """A JSON object, None when there is no such file."""
    if not path.is_file():
        return None
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ModelFolderError("bad_config", f"{path.name} is larger than {MAX_JSON_BYTES} bytes.")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFolderError("bad_config", f"{path.name} is no valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelFolderError("bad_config", f"{path.name} must hold a JSON object.")
    return value
