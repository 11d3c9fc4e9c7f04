"""Loads tokenizers, policies and reward models from plain local folders: no network, no pickles, no remote code.

Imports torch: for programs only. The checks that the web process needs too stand in ``folders.py``.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

from models_registry.inference.chat import ensure_chat_template
from models_registry.inference.folders import ModelFacts, ModelFolderError, check_model_folder, find_weight_files

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is first imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

gc.disable()  # what the libraries make stays; looking for garbage among it takes a third of a program's start

import torch  # noqa: E402
from safetensors import safe_open  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    logging,
)

gc.freeze()
gc.enable()

__all__ = [
    "ModelFacts",
    "ModelFolderError",
    "check_model_folder",
    "load_policy",
    "load_reward_model",
    "load_tokenizer",
    "require_finite_weights",
]

logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # what matters of the load report is checked here
logging.disable_progress_bar()  # type: ignore[no-untyped-call]

HEAD_NAMES = frozenset({"score.weight", "score.bias", "classifier.weight", "classifier.bias"})
HEAD_SEED = 0
HEAD_STD = 0.02

_SAFE: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}


def load_tokenizer(folder: Path | str) -> PreTrainedTokenizerBase:
    """The folder's tokenizer with a chat template (its own or the plain fallback) and a padding token."""
    check_model_folder(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), **_SAFE)
    except (OSError, ValueError, KeyError) as error:
        raise ModelFolderError("no_tokenizer", f"The tokenizer cannot be loaded: {error}") from error
    ensure_chat_template(tokenizer)
    _choose_pad_token(tokenizer)
    return tokenizer


def require_finite_weights(folder: Path) -> None:
    """Reads every tensor once, one at a time; raises ModelFolderError naming the first that holds NaN or infinity."""
    for path in find_weight_files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (this is no mapping)
                if not torch.isfinite(file.get_tensor(name)).all():
                    raise ModelFolderError(
                        "bad_weights", f"{name} in {path.name} holds values that are no numbers; copy the model again."
                    )


def load_policy(folder: Path | str, dtype: torch.dtype) -> PreTrainedModel:
    """The causal language model in ``folder`` on the CPU, in eval mode."""
    if check_model_folder(folder).kind != "policy":
        raise ModelFolderError("wrong_kind", "This folder holds a reward model; a language model is needed.")
    model, missing = _load(AutoModelForCausalLM, folder, dtype)
    _require_weights(missing)
    model.eval()  # type: ignore[no-untyped-call]
    return model


def load_reward_model(folder: Path | str, dtype: torch.dtype) -> PreTrainedModel:
    """A sequence classifier with one output, from a reward model or from a language model as its body, in eval mode.

    A language model has no score head yet; its weights are drawn from a normal distribution with a seed of their own,
    so that the same folder always gives the same model.
    """
    facts = check_model_folder(folder)
    model, missing = _load(AutoModelForSequenceClassification, folder, dtype, num_labels=1)
    model.config.get_text_config().pad_token_id = load_tokenizer(folder).pad_token_id
    _require_weights(missing if facts.kind == "reward" else missing - HEAD_NAMES)
    generator = torch.Generator().manual_seed(HEAD_SEED)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in missing:
                if name.endswith("bias"):
                    parameter.zero_()
                else:
                    parameter.copy_(torch.empty(parameter.shape).normal_(0.0, HEAD_STD, generator=generator))
    model.eval()  # type: ignore[no-untyped-call]
    return model


def _load(auto: Any, folder: Path | str, dtype: torch.dtype, **options: Any) -> tuple[PreTrainedModel, set[str]]:
    """The model and the names of the weights that the folder lacks (transformers fills those in at random)."""
    try:
        model, info = auto.from_pretrained(
            str(folder), dtype=dtype, use_safetensors=True, output_loading_info=True, **_SAFE, **options
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if "memory" in str(error).lower():
            raise
        raise ModelFolderError("bad_model", f"The model cannot be loaded: {error}") from error
    return model, set(info["missing_keys"])


def _require_weights(missing: set[str]) -> None:
    if missing:
        raise ModelFolderError("bad_weights", f"The weights lack {', '.join(sorted(missing)[:3])}.")


def _choose_pad_token(tokenizer: PreTrainedTokenizerBase) -> None:
    """Prefers a padding token other than EOS.

    transformers scores the last token that is not padding, so with pad = EOS a reply's end would be overlooked. Where
    the vocabulary has no spare special token, EOS remains (nothing of ours masks by id, only by length).
    """
    taken = {None, tokenizer.eos_token}
    if tokenizer.pad_token not in taken:
        return
    special = [token.content for _, token in sorted(tokenizer.added_tokens_decoder.items()) if token.special]
    spare = [token for token in special if token not in taken | {tokenizer.bos_token}]
    named = [token for token in spare if "pad" in token.lower()]
    tokenizer.pad_token = next(iter([*named, *spare]), tokenizer.eos_token)
