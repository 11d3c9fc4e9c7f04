"""Whether what labelers were shown is what pages show of the same pairs today."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.conf import settings
from django.utils.translation import override

from annotate.models import Judgment, Project
from annotate.selectors.shown_pair import hash_pair, show_texts


@dataclass
class Verified:
    """How many answers were compared, how many were given before displays were recorded, and those that differ."""

    same: int = 0
    unrecorded: int = 0
    different: list[int] = field(default_factory=list)


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
