"""The card of a pushed model: front matter for hubs; origin, figures and digests for people."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from django.utils.html import escape

from models_registry.models import ModelKind, ModelSource, ModelVersion
from training.selectors import Lineage, LineageStep, get_lineage

_FRONT = re.compile(r"\A---\s*\n.*?\n---\s*\n", re.DOTALL)


def write_hub_card(model: ModelVersion, folder: Path) -> str:
    """Markdown; the card that came with the files stands at its end."""
    lineage = get_lineage(model)
    parts = [_write_front(model, lineage), f"# {_plain(model.name)}", "", *_write_facts(model), "", "## Lineage", ""]
    parts += [line for step in lineage.steps for line in _write_step(step)]
    parts += _write_figures(model)
    parts += ["", "## Digests", "", "| file | SHA-256 |", "|---|---|"]
    parts += [f"| `{name}` | `{digest}` |" for name, digest in model.facts.get("sha256", {}).items()]
    if model.notes:
        parts += ["", "## Notes", "", _plain(model.notes)]
    own = folder / "README.md"
    if own.exists():
        text = _FRONT.sub("", own.read_text(encoding="utf-8", errors="replace"), count=1).strip()
        parts += ["", "## The card that came with the files", "", re.sub(r"^(#+ )", r"##\1", text, flags=re.MULTILINE)]
    return "\n".join(parts) + "\n"


def _write_front(model: ModelVersion, lineage: Lineage) -> str:
    """YAML, of which JSON is a part: whatever a name holds stays a text."""
    run = lineage.steps[0].run
    hub = next((step.model.source_ref for step in lineage.steps if step.model.source == ModelSource.HUB), "")
    front: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification" if model.kind == ModelKind.REWARD else "text-generation",
        "tags": ["plumbline", *(["preference", run.method] if run else [])],
    }
    if model.licence:
        front["license"] = model.licence
    if hub and hub != model.source_ref:
        front |= {"base_model": hub, "base_model_relation": "finetune"}
    if run and (accuracy := _read_eval(model).get("accuracy")) is not None:
        task = {"type": front["pipeline_tag"]}
        data = {
            "type": "preference-pairs",
            "name": str(run.dataset_version),
            "revision": run.dataset_version.eval_sha256,
        }
        metrics = [{"type": "accuracy", "name": "Chosen reply preferred", "value": accuracy}]
        front["model-index"] = [{"name": model.name, "results": [{"task": task, "dataset": data, "metrics": metrics}]}]
    return "\n".join(["---", *(f"{name}: {json.dumps(value)}" for name, value in front.items()), "---", ""])


def _write_facts(model: ModelVersion) -> list[str]:
    facts = model.facts
    rows = {
        "Kind": ModelKind(model.kind).name.lower(),
        "Architecture": facts.get("architecture"),
        "Parameters": f"{facts['parameters']:,}" if facts.get("parameters") else None,
        "Context": facts.get("context_length"),
        "Licence": _plain(model.licence) or "not stated",
        "Made": model.created_at.date().isoformat(),
    }
    return [f"- {name}: {value}" for name, value in rows.items() if value]


def _write_step(step: LineageStep) -> list[str]:
    model = step.model
    if step.run is None or step.dataset_version is None or step.votes is None:
        origin = f", {_plain(model.source_ref)}" if model.source_ref else ""
        return [f"- **{_plain(model.name)}**: {ModelSource(model.source).name.lower()}{origin}"]
    version, votes = step.dataset_version, step.votes
    return [
        f"- **{_plain(model.name)}**: {step.run.method} of {_plain(str(model.base))}, run {step.run.pk}",
        f"  - data: {_plain(str(version))}, {version.train_rows} training and {version.eval_rows} held-out pairs, "
        f"{votes.judgments} votes by {votes.labelers} labelers",
        f"  - SHA-256 of the training file: `{version.train_sha256}`",
    ]


def _write_figures(model: ModelVersion) -> list[str]:
    found = _read_eval(model)
    if found.get("accuracy") is None:
        return []
    low, high = found.get("interval", (0, 1))
    interval = f"95 % interval {low:.3f} to {high:.3f}, {found['pairs']} pairs"
    text = f"Chosen reply preferred: {found['accuracy']:.3f} ({interval})"
    if baseline := found.get("length_baseline"):
        text += f"; choosing the longer reply: {baseline['accuracy']:.3f}"
    return ["", "## Evaluation on held-out pairs", "", text + "."]


def _read_eval(model: ModelVersion) -> dict[str, Any]:
    found = model.metrics.get("eval")
    return found if isinstance(found, dict) else {}


def _plain(text: str) -> str:
    """One line that neither Markdown nor HTML takes for more than a text."""
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", escape(" ".join(text.split())))
