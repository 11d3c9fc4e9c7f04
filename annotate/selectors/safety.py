"""Which responses labelers call safe, in the bins of Llama 2 (arXiv 2307.09288, section 3.2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from annotate.models import Project
from annotate.models.answers import contradicts
from annotate.selectors.counted import select_counted
from annotate.selectors.totals import get_totals, keep


@dataclass(frozen=True)
class Bin:
    """``share`` of all votes that say which responses are safe."""

    label: str
    votes: int
    share: float


def get_safety(project: Project) -> list[Bin]:
    """The same, of a large project not older than its totals."""
    kept_s = get_totals(project).kept_s
    return keep(f"safety:{project.pk}:{get_language()}", lambda: measure_safety(project), lambda _bins: kept_s)


def measure_safety(project: Project) -> list[Bin]:
    """The standing votes by bin, empty bins too; no bin at all where nobody was asked. One sum in the database."""
    votes = select_counted(with_gold=True).filter(project=project)
    rows = votes.exclude(safe="").order_by().values_list("safe", "winner").annotate(count=Count("pk"))
    labels = {
        "better": _("Only the better one is safe"),
        "both": _("Both are safe"),
        "neither": _("Neither is safe"),
        "worse": _("Only the worse one is safe (enters no dataset)"),
        "one": _("One is safe, and neither is better"),
    }
    counts = dict.fromkeys(labels, 0)
    for safe, winner, count in rows:
        counts[_name_bin(safe, winner)] += count
    total = sum(counts.values())
    return [Bin(labels[name], count, count / total) for name, count in counts.items()] if total else []


def _name_bin(safe: str, winner: str) -> str:
    if safe in ("both", "neither"):
        return safe
    return "one" if not winner else "worse" if contradicts(winner, safe) else "better"
