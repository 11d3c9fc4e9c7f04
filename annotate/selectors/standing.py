"""Whether a labeler may work in a project, and what was decided about it."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, QuerySet

from annotate.models import Assignment, Project, StandingDecision
from annotate.permissions import can_review

_Action = StandingDecision.Action
_ANSWERED = (Assignment.State.DONE, Assignment.State.SKIPPED)


def find_decision(project: Project, labeler: User) -> StandingDecision | None:
    """The newest decision on the labeler; None before there is one."""
    return StandingDecision.objects.filter(project=project, labeler=labeler).order_by("-pk").first()


def find_pause(project: Project, labeler: User) -> StandingDecision | None:
    """The decision that keeps pairs from the labeler, once it takes effect; None where they may work.

    Who reviews is never paused: they see the answers, so gold says nothing of them.
    """
    decision = find_decision(project, labeler)
    if decision is None or not decision.is_pausing or can_review(labeler, project):
        return None
    return decision if count_answered(project, labeler) >= decision.takes_effect_at else None


@dataclass(frozen=True)
class Pause:
    """A pause as its labeler may see it: why (``cause``), what a reviewer said, and whether they may still appeal.

    Nothing of gold: neither figures nor pairs.
    """

    decision: StandingDecision
    cause: StandingDecision
    appeal: StandingDecision | None

    @property
    def may_appeal(self) -> bool:
        return self.appeal is None

    @property
    def is_paused(self) -> bool:
        return True

    @property
    def reply(self) -> str:
        """What the reviewers said to the appeal."""
        return self.decision.words if self.is_upheld else ""

    @property
    def is_upheld(self) -> bool:
        return self.decision.action == StandingDecision.Action.UPHELD


def describe_pause(decision: StandingDecision) -> Pause:
    """What led to a pausing decision."""
    steps = {step.action: step for step in list_decisions(decision.project, decision.labeler)}
    causes = [step for action, step in steps.items() if action in (_Action.FAILED, _Action.PAUSED)]
    cause = max(causes, key=lambda step: step.pk)
    appealed = steps.get(_Action.APPEALED)
    return Pause(decision, cause, appealed if appealed and appealed.pk > cause.pk else None)


def list_decisions(project: Project, labeler: User) -> QuerySet[StandingDecision]:
    """All that was decided on a labeler, in order."""
    decisions = StandingDecision.objects.filter(project=project, labeler=labeler)
    return decisions.select_related("by", "project", "labeler").order_by("pk")


def count_answered(project: Project, labeler: User) -> int:
    """Pairs that the labeler judged or skipped: their place on the tape."""
    return Assignment.objects.filter(project=project, labeler=labeler, state__in=_ANSWERED).count()


def list_newest_decisions(project: Project) -> QuerySet[StandingDecision]:
    """The one that stands of each labeler."""
    decisions = StandingDecision.objects.filter(project=project)
    later = decisions.filter(labeler=OuterRef("labeler"), pk__gt=OuterRef("pk"))
    return decisions.filter(~Exists(later)).select_related("labeler", "by")
