"""An import's report as its page shows it: codes become words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import get_language

from annotate.importing.problems import NOTE_LABELS, PROBLEM_LABELS
from annotate.models import Import
from models_registry.models import WorkState


@dataclass(frozen=True)
class ShownReport:
    """``entered`` is 0 unless the import finished: before that, nothing is in the project.

    ``gold`` is empty in reports from before there was any.
    """

    data: dict[str, Any]
    entered: int
    gold: dict[str, Any]
    problems: list[tuple[str, int]]
    notes: list[tuple[str, int]]
    listed: list[dict[str, Any]]
    unlisted: int


def describe_report(work: Import) -> ShownReport | None:
    """None before there is one."""
    data = work.report
    if not data:
        return None
    return ShownReport(
        data=data,
        entered=data["imported"] if work.state == WorkState.FINISHED else 0,
        gold=data.get("gold", {}),
        problems=[(_name(PROBLEM_LABELS, code), count) for code, count in data["problems"].items()],
        notes=[(_name(NOTE_LABELS, code), count) for code, count in data["notes"].items()],
        listed=[entry | {"label": _name_in_words(entry["code"])} for entry in data["listed"]],
        unlisted=data["bad_lines"] - len(data["listed"]),
    )


def _name_in_words(code: str) -> str:
    """A line's problem by its code, where the stored reason, which is English, is not in the reader's language."""
    return "" if (get_language() or "en").startswith("en") else str(PROBLEM_LABELS.get(code, ""))


def _name(labels: dict[str, Any], code: str) -> str:
    """A report outlives the code that wrote it: a code without a label is shown as it is."""
    return str(labels.get(code, code))
