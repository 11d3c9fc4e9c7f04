"""A labeler's own answers: those that stand, as their labeler saw the pairs, and which of them can still be changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Exists, Min, OuterRef, Q, QuerySet

from annotate.models import Assignment, Choice, DatasetVersion, DatasetVersionJudgment, Judgment, Project
from annotate.selectors.gold import map_as_if_frozen
from annotate.selectors.pair_words import match_words
from annotate.selectors.shown_pair import ShownPair, describe_pair
from models_registry.models import WorkState

SKIPPED = "skip"
"""Beside the choices, what a list of answers can be narrowed to."""
MAX_WORDS = 200
"""Characters to search for."""


@dataclass(frozen=True)
class GivenAnswer:
    """``frozen_in`` is the number of the first dataset version that rests on the answer."""

    judgment: Judgment
    pair: ShownPair
    frozen_in: int | None

    @property
    def words(self) -> str:
        """The answer as the rail says it, or why the pair was skipped."""
        said = self.judgment
        return said.skip_words if said.action == Judgment.Action.SKIP else str(Choice(said.choice).label)


def list_answers(project: Project, labeler: User, *, words: str = "", answer: str = "") -> QuerySet[Judgment]:
    """The labeler's votes and skips that stand, newest first; a pair that came to them again, as they met it last.

    ``words`` stand in the dialogue, in a response or in the reasons; ``answer`` is a choice or SKIPPED.
    """
    answers = Judgment.objects.filter(labeler=labeler, project=project, superseded_by=None)
    answers = hide_asked_again(answers.exclude(action=Judgment.Action.UNDO))
    if answer == SKIPPED:
        answers = answers.filter(action=Judgment.Action.SKIP)
    elif answer:
        answers = answers.filter(side=Choice(answer).side, grade=Choice(answer).grade)
    if words:
        own_words = Q(rationale__icontains=words) | Q(skip_reason__icontains=words)
        answers = answers.filter(match_words(words, "comparison__") | own_words)
    pair = "assignment__comparison__"
    related = (f"{pair}prompt", f"{pair}response_a", f"{pair}response_b", "rewrite")
    return answers.select_related(*related).order_by("-pk")


def hide_asked_again(answers: QuerySet[Judgment]) -> QuerySet[Judgment]:
    """Without what a labeler said of a pair before it came to them again, from when it was handed out again.

    Else a search for the words of a pair on the desk would tell that it is a repeat, and what they said of it before.
    """
    again = Assignment.objects.filter(
        kind=Assignment.Kind.REPEAT, comparison=OuterRef("comparison"), labeler=OuterRef("labeler")
    )
    return answers.filter(Q(is_repeat=True) | ~Exists(again))


def describe_answers(judgments: Sequence[Judgment]) -> list[GivenAnswer]:
    """Of rows that list_answers has loaded."""
    frozen = map_frozen(judgments)
    return [GivenAnswer(said, describe_pair(said.assignment), frozen.get(said.pk)) for said in judgments]


def find_reopened(project: Project, labeler: User, token: UUID | None) -> Assignment | None:
    """The pair that is shown again to be answered anew with ``token``; None for any other token."""
    if token is None:
        return None
    related = ("project", "comparison__prompt", "comparison__response_a", "comparison__response_b")
    mine = Assignment.objects.filter(project=project, labeler=labeler, token=token).select_related(*related)
    answered = mine.filter(state__in=[Assignment.State.DONE, Assignment.State.SKIPPED])
    return answered.exclude(judgments__token=token).first()


def find_answer_to_change(assignment: Assignment) -> Judgment | None:
    """What was said of a pair before it was reopened; None where nothing stands."""
    return assignment.judgments.filter(superseded_by=None).exclude(action=Judgment.Action.UNDO).first()


def list_fields(judgment: Judgment) -> list[tuple[str, str]]:
    """An answer as the fields of the answer form."""
    rewrite = judgment.rewrite.text if judgment.rewrite else ""
    return name_fields(judgment.choice, judgment.safety, judgment.reason_tags, judgment.rationale, rewrite)


def name_fields(
    choice: str, safety: str, reason_tags: Iterable[str], rationale: str, rewrite: str
) -> list[tuple[str, str]]:
    """The fields of the answer form that say something."""
    fields = [("choice", choice), ("safety", safety), *(("reason_tags", tag) for tag in reason_tags)]
    return [(name, value) for name, value in [*fields, ("rationale", rationale), ("rewrite", rewrite)] if value]


def map_frozen(judgments: Iterable[Judgment]) -> dict[int, int]:
    """Judgment: number of the first version that rests on it, or would, were it not one on a gold pair."""
    judgments = list(judgments)
    uses = DatasetVersionJudgment.objects.filter(judgment__in=[said.pk for said in judgments])
    found = uses.values("judgment").annotate(first=Min("dataset_version__number"))
    return map_as_if_frozen(judgments) | dict(found.values_list("judgment", "first"))


def find_version_being_made(judgment: Judgment) -> DatasetVersion | None:
    """A version that a worker still has to write and that counts this judgment if its rule does."""
    unwritten = [WorkState.QUEUED, WorkState.RUNNING]
    versions = DatasetVersion.objects.filter(project=judgment.project_id, state__in=unwritten)
    return versions.filter(judgment_cutoff__gte=judgment.pk).order_by("number").first()
