"""``config.json`` of a run folder: the settings, and where model and data are. No torch here.

    {"method": "dpo", "model": "…/models/7", "train_file": "train.jsonl", "eval_file": null, "resume_from": [],
     "model_name": "SmolLM2", "train_sha256": "…", "values": {"learning_rate": 5e-6, "epochs": 2}}

``method``, ``model`` and ``train_file`` are required; other keys than these are ignored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.engine.config import ConfigErrors, TrainingConfig


@dataclass(frozen=True)
class RunSpec:
    """What ``config.json`` of a run folder says: the settings, and where things are."""

    method: str
    model: Path
    """Plain transformers folder of the base; for DPO it is also the reference."""
    train_file: Path
    eval_file: Path | None
    resume_from: list[Path]
    """Run folders (of earlier attempts); the newest sound checkpoint in any of them is taken up."""
    config: TrainingConfig
    model_name: str
    train_sha256: str
    """Expected digest of ``train_file``; empty when not given."""
    name: str = ""
    """What people call the run."""
    recipe: str = ""
    licence: str = ""
    """Of the base, for the model card."""
    reference_cache: Path | None = None
    """A folder of reference log-probabilities that runs share; each run has its own when not given."""

    @classmethod
    def read(cls, path: Path) -> RunSpec:
        """Reads ``config.json``, given the file or its folder; relative paths are taken from the folder.

        Raises :class:`ConfigErrors`.
        """
        path = path / "config.json" if path.is_dir() else path
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigErrors([("config.json", f"cannot be read: {error}")]) from error
        if not isinstance(raw, dict):
            raise ConfigErrors([("config.json", "must hold a JSON object")])
        errors = [(key, "must be a path") for key in ("model", "train_file") if not _is_path(raw.get(key))]
        errors += [
            (key, "must be a path or null")
            for key in ("eval_file", "reference_cache")
            if raw.get(key) is not None and not _is_path(raw[key])
        ]
        resume_from = raw.get("resume_from", [])
        if not isinstance(resume_from, list) or not all(map(_is_path, resume_from)):
            errors.append(("resume_from", "must be a list of paths"))
        values = raw.get("values", {})
        if not isinstance(values, dict):
            errors.append(("values", "must be an object of settings"))
            values = {}
        method = raw.get("method")
        try:
            config = TrainingConfig.from_dict(method if isinstance(method, str) else "", values)
        except ConfigErrors as wrong:
            raise ConfigErrors([*errors, *wrong.errors]) from wrong
        if errors:
            raise ConfigErrors(errors)

        def locate(key: str) -> Path | None:
            return path.parent / raw[key] if raw.get(key) else None

        return cls(
            method=config.method,
            model=path.parent / raw["model"],
            train_file=path.parent / raw["train_file"],
            eval_file=locate("eval_file"),
            resume_from=[path.parent / each for each in resume_from],
            config=config,
            model_name=str(raw.get("model_name") or Path(raw["model"]).name),
            train_sha256=str(raw.get("train_sha256") or ""),
            name=str(raw.get("name") or ""),
            recipe=str(raw.get("recipe") or ""),
            licence=str(raw.get("licence") or ""),
            reference_cache=locate("reference_cache"),
        )


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value
