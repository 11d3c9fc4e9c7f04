"""The display ledger: how every answer's pair was shown, and whether pages show the same of it today."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from django.conf import settings
from django.utils.translation import override

from annotate.exporting.csv_lines import write_line
from annotate.models import Judgment, Project
from annotate.selectors.shown_pair import hash_pair, show_texts

COLUMNS = {
    "judgment": "pk",
    "created_at": "created_at",
    "labeler": "labeler__username",
    "comparison": "comparison_id",
    "kind": "assignment__kind",
    "action": "action",
    "supersedes": "supersedes_id",
    "winner": "winner",
    "grade": "grade",
    "left_response": "left_response",
    "seed": "seed",
    "position": "position",
    "side_propensity": "side_propensity",
    "pair_propensity": "pair_propensity",
    "render_hash": "render_hash",
}
"""The head of the ledger: the field that each column holds."""

_CHUNK = 2000


@dataclass
class Verified:
    """How many answers were compared, how many were given before displays were recorded, and those that differ."""

    same: int = 0
    unrecorded: int = 0
    different: list[int] = field(default_factory=list)


def write_ledger(project: Project) -> Iterator[str]:
    """The ledger as CSV, line by line: every answer, skip and undo of the project in order, times in UTC.

    Chunks by number, each a query of its own: neither memory nor a transaction grows with the project.
    """
    yield write_line(COLUMNS)
    answers = Judgment.objects.filter(project=project).order_by("pk").values_list(*COLUMNS.values())
    last = 0
    while chunk := list(answers.filter(pk__gt=last)[:_CHUNK]):
        for number, created_at, *cells in chunk:
            yield write_line([number, created_at.isoformat(), *cells])
        last = chunk[-1][0]


def verify_displays(project: Project) -> Verified:
    """Draws the pair of every answer again, in each language, since marks of hidden characters have translated names.

    Different are those drawn by an earlier renderer, and those whose stored texts somebody changed.
    """
    found = Verified()
    answers = Judgment.objects.filter(project=project).exclude(action=Judgment.Action.UNDO)
    related = ("comparison__prompt", "comparison__response_a", "comparison__response_b")
    for said in answers.select_related(*related).order_by("comparison_id", "pk").iterator(chunk_size=500):
        if not said.render_hash:
            found.unrecorded += 1
        elif _is_shown_alike(said):
            found.same += 1
        else:
            found.different.append(said.pk)
    return found


def _is_shown_alike(said: Judgment) -> bool:
    texts = show_texts(said.comparison, said.left_response)
    for language, _name in settings.LANGUAGES:
        with override(language):
            if hash_pair(texts) == said.render_hash:
                return True
    return False
