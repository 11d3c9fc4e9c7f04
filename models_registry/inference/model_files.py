"""Taking a model folder over: which files, and what the registry files about it beyond the facts of its headers.

Only safetensors weights, JSON, tokenizer files and texts are ever taken over; a pickle can run code when it is opened,
so none is copied, opened or loaded. Everything here reads file headers, not weights: no torch is needed.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models_registry.inference.folders import PICKLE_SUFFIXES, check_model_folder, find_weight_files
from models_registry.inference.program import ProgramError

MODEL_FILES = (
    "model*.safetensors",
    "*.json",
    "*.jinja",
    "tokenizer.model",
    "*.spm",
    "vocab.txt",
    "merges.txt",
    "README.md",
    "LICENSE*",
    "NOTICE*",
)


def select_model_files(names: Iterable[str]) -> list[str]:
    """The names of ``names`` that a model folder takes over, sorted; files in subfolders are none of them.

    Raises ProgramError ``pickle`` when there are weights but only pickled ones, ``bad_model`` when there are none.
    """
    top = [name for name in names if "/" not in name and not name.startswith(".")]
    chosen = sorted(name for name in top if any(fnmatch.fnmatchcase(name, pattern) for pattern in MODEL_FILES))
    if any(name.endswith(".safetensors") for name in chosen):
        return chosen
    pickles = sorted(name for name in top if Path(name).suffix.lower() in PICKLE_SUFFIXES)
    if pickles:
        raise ProgramError(
            "pickle",
            f"The model holds only pickled weights ({pickles[0]}). A pickle can run code when it is opened, so none is "
            "loaded here. Take a revision with safetensors weights, or convert the model with "
            "save_pretrained(..., safe_serialization=True) where you trust it.",
        )
    raise ProgramError("bad_model", "There are no weights here: no file ends in .safetensors.")


def link_or_copy(source: Path, target: Path) -> None:
    """Puts the content of ``source`` at ``target``: a hard link on the same file system, else a copy."""
    real = source.resolve(strict=True)
    try:
        os.link(real, target)
    except OSError:
        shutil.copyfile(real, target)


def hash_file(path: Path) -> str:
    """SHA-256 of the file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_model_facts(folder: Path, *, on_hash: Callable[[str], None] = lambda _name: None) -> dict[str, Any]:
    """Architecture, size and origin facts of a model folder, ready for result.json; refuses what must not be loaded.

    ``on_hash`` is called with each weight file's name before it is hashed, which is the slow part.
    """
    facts = check_model_folder(folder)
    hashes = {}
    for path in find_weight_files(folder):
        on_hash(path.name)
        hashes[path.name] = hash_file(path)
    return asdict(facts) | {
        "licence": read_licence(folder),
        "sha256": hashes,
        "bytes": sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
    }


def read_licence(folder: Path) -> str:
    """The licence that the model card's front matter names, or an empty string."""
    path = folder / "README.md"
    if not path.exists():
        return ""
    front = re.match(r"---\s*\n(.*?)\n---", path.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    if not front:
        return ""
    named: dict[str, str] = dict(re.findall(r"^(license|license_name):[ \t]*([^\n#]+)", front[1], re.MULTILINE))
    licence = named.get("license", "").strip().strip("\"'")
    if licence == "other":
        licence = named.get("license_name", licence).strip().strip("\"'")
    return licence
