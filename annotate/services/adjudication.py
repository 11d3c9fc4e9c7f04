"""Adjudication: a reviewer answers a pair blind, then sees all votes on it, then decides.

Nothing here is ever changed: a decision that is revised is a new row that supersedes the old one.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from annotate.models import Adjudication, AuditAction, BlindAnswer, Choice, Comparison, Judgment
from annotate.selectors.review import find_blind, find_ruling, see_pair
from annotate.services.answers import JudgmentError, Reasons, check_choice, check_reasons
from annotate.services.audit import record
from annotate.services.flags import resolve_flag
from annotate.services.places import lock_comparisons, lock_labeler

MAX_NOTE = 500


class NotBlindYetError(JudgmentError):
    """Nobody decides a pair before they have answered it blind."""


class DecidedMeanwhileError(JudgmentError):
    """Another decision stands than the one that the reviewer saw."""


@transaction.atomic
def answer_blind(
    *,
    reviewer: User,
    comparison: Comparison,
    choice: Choice,
    rationale: str = "",
    reason_tags: Sequence[str] = (),
    seconds: float | None = None,
) -> BlindAnswer | Judgment:
    """Stores what the reviewer says before they see the votes. Their first answer stands, or the vote they gave before.

    Raises AnswerRefusedError. Locks the reviewer's row.
    """
    reasons = Reasons(rationale.strip(), tuple(reason_tags))
    lock_labeler(reviewer)
    if said := find_blind(comparison, reviewer):
        return said
    check_choice(comparison.project, choice)
    check_reasons(comparison.project, reasons)
    view = see_pair(comparison, reviewer)
    return BlindAnswer.objects.create(
        project_id=comparison.project_id,
        comparison=comparison,
        reviewer=reviewer,
        winner=view.name_winner(choice),
        grade=choice.grade,
        scale=comparison.project.scale,
        rationale=reasons.rationale,
        reason_tags=list(reasons.tags),
        left_response=view.left_response,
        seed=view.seed,
        seconds=None if seconds is None else max(0.0, seconds),
    )


@transaction.atomic
def adjudicate(
    *,
    reviewer: User,
    comparison: Comparison,
    choice: Choice | None,
    note: str = "",
    seen: int | None = None,
    resolves_flags: bool = False,
) -> Adjudication:
    """Decides a pair; ``choice`` None drops it. From now on it asks for no further votes.

    ``seen`` is the number of the decision that stood when the reviewer decided. The same decision sent again is stored
    once. Raises NotBlindYetError, DecidedMeanwhileError and AnswerRefusedError. Locks the comparison.
    """
    lock_comparisons([comparison.pk])
    blind = find_blind(comparison, reviewer)
    if blind is None:
        raise NotBlindYetError(_("Answer the pair yourself first; then decide."))
    if choice:
        check_choice(comparison.project, choice)
    view = see_pair(comparison, reviewer)
    said = {
        "dropped": choice is None,
        "winner": view.name_winner(choice) if choice else "",
        "grade": choice.grade.value if choice else "",
    }
    standing = find_ruling(comparison)
    if standing and standing.pk != seen:
        if standing.reviewer_id == reviewer.pk and _describe(standing) == said:
            return standing
        raise DecidedMeanwhileError(_("Somebody decided this pair meanwhile. Look at their decision first."))
    ruling = Adjudication.objects.create(
        project_id=comparison.project_id,
        comparison=comparison,
        reviewer=reviewer,
        blind=blind if isinstance(blind, BlindAnswer) else None,
        vote=blind if isinstance(blind, Judgment) else None,
        left_response=view.left_response,
        note=note.strip()[:MAX_NOTE],
        supersedes=standing,
        **said,
    )
    Comparison.objects.filter(pk=comparison.pk).update(need=F("taken"), held_need=F("taken"))
    if resolves_flags:
        for flag in comparison.flags.filter(resolved_at=None):
            resolve_flag(flag=flag, by=reviewer)
    record(
        AuditAction.ADJUDICATED,
        project=comparison.project,
        by=reviewer,
        about=comparison,
        before=_describe(standing) if standing else {},
        after=said,
    )
    return ruling


def _describe(ruling: Adjudication) -> dict[str, object]:
    return {"dropped": ruling.dropped, "winner": ruling.winner, "grade": ruling.grade}
