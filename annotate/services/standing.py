"""Qualifying, pausing, appealing, reinstating: whether a labeler gets pairs. Every step is a row that stays.

Gold decides by itself, a reviewer by hand. Answers are taken from the paused as from anybody: they only get no more.
"""

from __future__ import annotations

import secrets
from statistics import fmean
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from annotate.models import Assignment, AuditAction, Judgment, Project, StandingDecision
from annotate.permissions import can_label, can_review
from annotate.quality.gold import is_below, measure_evidence
from annotate.selectors.gold import read_credits
from annotate.selectors.standing import count_answered, find_decision, find_pause
from annotate.services.answers import JudgmentError
from annotate.services.audit import record
from annotate.services.places import lock_labeler

Action = StandingDecision.Action
MAX_WORDS = 2000
_MOST_DELAY = 6
"""Pairs that a labeler may still get when the test has decided: so that the pause does not name its pair."""

_FROM: dict[Action, tuple[str | None, ...]] = {
    Action.QUALIFIED: (None,),
    Action.PAUSED: (None, Action.QUALIFIED, Action.REINSTATED),
    Action.UPHELD: (Action.APPEALED,),
    Action.REINSTATED: StandingDecision.PAUSING,
}
"""What a reviewer may decide: after which newest decision it makes sense."""
REVIEWERS_DECISIONS = tuple(_FROM)


class PausedError(JudgmentError):
    """Nothing is handed out to this labeler; ``decision`` says since when and why."""

    def __init__(self, decision: StandingDecision) -> None:
        super().__init__(_("You get no pairs in this project for now. All your answers are kept."))
        self.decision = decision


class StandingError(JudgmentError):
    """This cannot be decided or appealed as things stand; ``field`` is the one to mend, where one is."""

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(reason)
        self.field = field


def require_standing(project: Project, labeler: User) -> None:
    """Raises PausedError where the labeler gets no pairs."""
    if decision := find_pause(project, labeler):
        raise PausedError(decision)


def review_gold(*, project: Project, labeler: User) -> StandingDecision | None:
    """Looks at a labeler's gold after a further answer, and decides where it suffices; None where it does not.

    To qualify, the mean credit must reach the bar; later the test of annotate/quality/gold.py runs. Who reviews is
    left alone. Call it in a transaction that holds the labeler's lock.
    """
    decision = find_decision(project, labeler)
    if (decision and decision.is_pausing) or can_review(labeler, project):
        return None
    if decision is None and project.qualification_pairs:
        credits = read_credits(project, labeler, Assignment.Kind.QUALIFICATION)
        if len(credits) >= project.qualification_pairs:
            action = Action.QUALIFIED if fmean(credits) >= project.gold_bar else Action.FAILED
            return _decide(project, labeler, action, evidence=_describe(project, credits))
        if credits:
            return None
    credits = read_credits(project, labeler, after=decision.counts_from if decision else 0)
    if not is_below(credits, project.gold_bar):
        return None
    takes_effect_at = count_answered(project, labeler) + 1 + secrets.randbelow(_MOST_DELAY)
    evidence = _describe(project, credits)
    return _decide(project, labeler, Action.PAUSED, evidence=evidence, takes_effect_at=takes_effect_at)


@transaction.atomic
def appeal(*, project: Project, labeler: User, words: str) -> StandingDecision:
    """A paused labeler asks the reviewers to look again, once a pause. Raises StandingError. Locks the labeler."""
    lock_labeler(labeler)
    decision = find_pause(project, labeler)
    if decision is None or decision.action not in (Action.FAILED, Action.PAUSED):
        raise StandingError(_("There is nothing to appeal against, or you did already."))
    return _decide(project, labeler, Action.APPEALED, by=labeler, words=_check_words(words, needed=True))


@transaction.atomic
def decide_standing(
    *, project: Project, labeler: User, action: StandingDecision.Action, by: User, words: str = ""
) -> StandingDecision:
    """What a reviewer decides: let in unqualified, pause, uphold a pause, reinstate (then the test starts afresh).

    Words go to the labeler; a pause and an upheld pause need some. Raises StandingError where it makes no sense as
    things stand. Locks the labeler's row.
    """
    lock_labeler(labeler)
    if not can_label(labeler, project) or can_review(labeler, project):
        raise StandingError(_("Only labelers of this project are paused and reinstated."))
    decision = find_decision(project, labeler)
    if action not in list_possible(project, labeler):
        raise StandingError(_("This was decided meanwhile, or makes no sense as things stand."), "action")
    words = _check_words(words, needed=action in (Action.PAUSED, Action.UPHELD))
    evidence = _describe(project, read_credits(project, labeler, after=decision.counts_from if decision else 0))
    return _decide(project, labeler, action, by=by, words=words, evidence=evidence)


def list_possible(project: Project, labeler: User) -> list[StandingDecision.Action]:
    """What a reviewer may decide on the labeler as things stand."""
    if not can_label(labeler, project) or can_review(labeler, project):
        return []
    decision = find_decision(project, labeler)
    return [action for action, after in _FROM.items() if (decision.action if decision else None) in after]


def _decide(
    project: Project,
    labeler: User,
    action: StandingDecision.Action,
    *,
    by: User | None = None,
    words: str = "",
    evidence: dict[str, Any] | None = None,
    takes_effect_at: int = 0,
) -> StandingDecision:
    last = find_decision(project, labeler)
    restarts = action in (Action.QUALIFIED, Action.REINSTATED)
    newest = Judgment.objects.filter(project=project, labeler=labeler).aggregate(last=Max("pk"))["last"] or 0
    decision = StandingDecision.objects.create(
        project=project,
        labeler=labeler,
        action=action,
        by=by,
        words=words,
        evidence=evidence or {},
        takes_effect_at=takes_effect_at,
        counts_from=newest if restarts else last.counts_from if last else 0,
    )
    record(
        AuditAction.STANDING_DECIDED,
        project=project,
        by=by,
        about=labeler,
        before={"standing": last.action if last else None},
        after={"standing": action, "words": words},
    )
    return decision


def _describe(project: Project, credits: list[float]) -> dict[str, Any]:
    return {
        "gold": len(credits),
        "mean": round(fmean(credits), 4) if credits else None,
        "e_value": float(f"{measure_evidence(credits, project.gold_bar):.4g}"),
        "bar": project.gold_bar,
    }


def _check_words(words: str, *, needed: bool) -> str:
    words = words.strip()
    if needed and not words:
        raise StandingError(_("Say in a few words why."), "words")
    if len(words) > MAX_WORDS or "\x00" in words:
        raise StandingError(_("At most %(count)d characters, please.") % {"count": MAX_WORDS}, "words")
    return words
