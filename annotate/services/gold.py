"""Gold: comparisons with a known answer, by which labelers are measured."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext as _

from annotate.models import SIDED_GRADES, Assignment, AuditAction, Comparison, GoldAnswer, Grade, Hold, Project
from annotate.selectors.gold import GOLD_KINDS
from annotate.services.audit import record, record_change, record_many
from annotate.services.places import lock_comparisons

MAX_EXPLANATION = 1000
_BATCH = 400


class GoldError(ValueError):
    """This cannot be done to a gold pair; ``field`` is the one to mend, where one is."""

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(reason)
        self.field = field


@transaction.atomic
def make_gold(*, comparison: Comparison, winner: str, grade: Grade, explanation: str = "", by: User) -> GoldAnswer:
    """Makes a comparison gold. It needs no votes from now on, and those cast on it count in no dataset made later.

    Raises GoldError where it is gold already or the project offers no such answer. Locks the comparison's assignments,
    then the comparison.
    """
    _check_answer(comparison, winner, grade, explanation)
    holders = Assignment.objects.filter(comparison=comparison)
    list(holders.select_for_update(no_key=True, of=("self",)).order_by("pk").values_list("pk"))
    lock_comparisons([comparison.pk])
    if GoldAnswer.objects.filter(comparison=comparison).exists():
        raise GoldError(_("This pair is gold already."))
    if Comparison.objects.filter(pk=comparison.pk).exclude(hold=Hold.NONE).exists():
        raise GoldError(_("This pair is held back; release it first."))
    gold = GoldAnswer.objects.create(
        comparison=comparison, winner=winner, grade=grade, explanation=explanation, created_by=by
    )
    holders.filter(holds_place=True).update(holds_place=False)
    Comparison.objects.filter(pk=comparison.pk).update(need=0, taken=0)
    record(AuditAction.GOLD_MADE, project=comparison.project, by=by, about=comparison, after=_describe(gold))
    return gold


@transaction.atomic
def make_new_gold(*, project: Project, answers: Sequence[GoldAnswer], by: User) -> None:
    """The same for comparisons that the caller's transaction has just made, so that nobody has met one of them.

    ``answers`` are not stored yet. Raises GoldError as make_gold does, and nothing is stored.
    """
    for gold in answers:
        _check_answer(gold.comparison, gold.winner, Grade(gold.grade), gold.explanation)
        if gold.comparison.hold != Hold.NONE:
            raise GoldError(_("This pair is held back; release it first."))
        gold.created_by = by
    GoldAnswer.objects.bulk_create(answers, batch_size=_BATCH)
    for start in range(0, len(answers), _BATCH):
        some = [gold.comparison_id for gold in answers[start : start + _BATCH]]
        Comparison.objects.filter(pk__in=some).update(need=0)
    made = ((gold.comparison, _describe(gold)) for gold in answers)
    record_many(AuditAction.GOLD_MADE, project=project, by=by, changes=made)


@transaction.atomic
def change_gold(
    *,
    gold: GoldAnswer,
    by: User,
    winner: str | None = None,
    grade: Grade | None = None,
    explanation: str | None = None,
    is_active: bool | None = None,
) -> GoldAnswer:
    """Changes what is given, retires it or takes it up again. Judged ones keep their answer: retire it, make another.

    Raises GoldError. Locks the gold's row.
    """
    stored = GoldAnswer.objects.select_for_update(of=("self",)).select_related("comparison__project").get(pk=gold.pk)
    before = _describe(stored)
    if winner is not None or grade is not None:
        stored.winner = stored.winner if winner is None else winner
        stored.grade = stored.grade if grade is None else grade
        if (stored.winner, stored.grade) != (before["winner"], before["grade"]) and is_judged(stored):
            raise GoldError(_("This pair was judged as gold; its answer stays. Retire it instead."), "grade")
    stored.explanation = stored.explanation if explanation is None else explanation
    stored.is_active = stored.is_active if is_active is None else is_active
    _check_answer(stored.comparison, stored.winner, Grade(stored.grade), stored.explanation)
    stored.save()
    record_change(
        AuditAction.GOLD_CHANGED,
        project=stored.comparison.project,
        by=by,
        about=stored.comparison,
        before=before,
        after=_describe(stored),
    )
    return stored


@transaction.atomic
def unmake_gold(*, gold: GoldAnswer, by: User) -> None:
    """Makes a pair that was never handed out as gold ordinary again; the votes cast before count again.

    Raises GoldError where it was. Locks the comparison.
    """
    comparison = gold.comparison
    lock_comparisons([comparison.pk])
    handed_out = Assignment.objects.filter(comparison=comparison)
    if handed_out.filter(kind__in=GOLD_KINDS).exists():
        raise GoldError(_("This pair was handed out as gold. Retire it instead."))
    record(AuditAction.GOLD_UNMADE, project=comparison.project, by=by, about=comparison, before=_describe(gold))
    gold.delete()
    voted = handed_out.filter(state=Assignment.State.DONE).update(holds_place=True)
    need = max(comparison.project.votes_per_comparison, voted)
    Comparison.objects.filter(pk=comparison.pk).update(need=need, taken=voted)


def is_judged(gold: GoldAnswer) -> bool:
    """Whether somebody met the pair as gold and said something of it."""
    return gold.comparison.judgments.filter(assignment__kind__in=GOLD_KINDS).exists()


def _check_answer(comparison: Comparison, winner: str, grade: Grade, explanation: str) -> None:
    if (grade in SIDED_GRADES) != (winner in ("a", "b")):
        raise GoldError(_("An answer names a side and by how much, or neither side."), "winner")
    if grade not in {choice.grade for choice in comparison.project.choices}:
        raise GoldError(_("This project does not offer the answer “%(answer)s”.") % {"answer": grade.label}, "grade")
    if len(explanation) > MAX_EXPLANATION or "\x00" in explanation:
        raise GoldError(_("At most %(count)d characters, please.") % {"count": MAX_EXPLANATION}, "explanation")


def _describe(gold: GoldAnswer) -> dict[str, object]:
    names = ("winner", "grade", "explanation", "is_active")
    return {name: getattr(gold, name) for name in names}
