"""Dataset versions as pages and API show them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy

from annotate.exporting.aggregate import LEFT_OUT_LABELS
from annotate.exporting.rule import STRENGTHS, DatasetRule, describe_rule
from annotate.exporting.shared import fetch_dataset
from annotate.exporting.split import EVAL, TRAIN
from annotate.models import DatasetVersion, Grade, Project
from annotate.services.datasets import CARD_NAME
from models_registry.models import WorkState
from models_registry.store import StoreError

log = logging.getLogger(__name__)

FILES = {TRAIN: "train.jsonl", EVAL: "eval.jsonl", "card": CARD_NAME}
"""Name in the address: file. Nothing else can be asked for."""

SAFETY = {"both": _lazy("both"), "chosen": _lazy("only the chosen one"), "neither": _lazy("neither")}
"""A row's column: its words."""

CONTENT_TYPES = {TRAIN: "application/x-ndjson", EVAL: "application/x-ndjson", "card": "text/markdown; charset=utf-8"}


@dataclass(frozen=True)
class Figures:
    """Counts in words, for a version and for a preview alike."""

    grades: list[tuple[str, int]]
    left_out: list[tuple[str, int]]
    votes_left_out: list[tuple[str, int]]
    votes_without_side: list[tuple[str, int]]
    safety: list[tuple[str, int]]


def list_versions(project: Project) -> QuerySet[DatasetVersion]:
    return project.dataset_versions.select_related("created_by")


def describe_counts(counts: dict[str, Any], left_out: dict[str, int]) -> Figures:
    """Grades from strong to weak, reasons by size."""
    grades = counts.get("grades", {})
    named = [(str(Grade(grade).label), grades[grade]) for grade in STRENGTHS if grade in grades]
    if "none" in grades:
        named.append((_("no grade"), grades["none"]))
    safety = counts.get("safety", {})
    return Figures(
        grades=named,
        left_out=_name_reasons(left_out),
        votes_left_out=_name_reasons(counts.get("votes_left_out", {})),
        votes_without_side=_name_reasons(counts.get("votes_without_side", {})),
        safety=[(str(label), safety[name]) for name, label in SAFETY.items() if name in safety],
    )


def describe_stored_rule(version: DatasetVersion) -> list[str]:
    return describe_rule(DatasetRule.from_json(version.rule))


def read_first_rows(version: DatasetVersion, number: int) -> list[dict[str, Any]]:
    """The first rows of the training part; none before the files are there."""
    path = find_file(version, "train")
    if path is None:
        return []
    with path.open("rb") as file:
        return [orjson.loads(line) for line in islice(file, number)]


def find_file(version: DatasetVersion, name: str) -> Path | None:
    """Where a finished version's file lies, fetched if need be; None for another name and while it is not there."""
    if version.state != WorkState.FINISHED or name not in FILES:
        return None
    try:
        fetch_dataset(version)
    except StoreError as error:
        log.warning("The files of %s are not here: %s", version, error)
    path = version.folder / FILES[name]
    return path if path.is_file() else None


def _name_reasons(reasons: dict[str, int]) -> list[tuple[str, int]]:
    return [(str(LEFT_OUT_LABELS.get(reason, reason)), count) for reason, count in reasons.items() if count]
