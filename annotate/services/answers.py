"""What a project takes as an answer: which choices, reasons and rewrites. Checked before anything is stored."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from annotate.models import Assignment, Choice, Comparison, Project, Rationale
from annotate.models.answers import contradicts
from annotate.services.prompts import MAX_CHARACTERS, find_unstorable

MAX_RATIONALE = 2000
"""Characters."""


class JudgmentError(Exception):
    """An answer that cannot be taken; the text says why, for the labeler to read."""


class AnswerRefusedError(JudgmentError):
    """This project does not take such an answer; ``field`` is the one to mend. Nothing was stored."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


@dataclass(frozen=True)
class Reasons:
    """Why a labeler chose as they did: in their own words, and in words of the project's list."""

    rationale: str = ""
    tags: tuple[str, ...] = ()


def check_answer(project: Project, assignment: Assignment, choice: Choice, reasons: Reasons, rewrite: str) -> None:
    """Raises AnswerRefusedError naming the field; the form and the serializer hold the lengths."""
    check_choice(project, choice)
    check_reasons(project, reasons)
    if rewrite:
        _check_rewrite(project, assignment.comparison, choice, rewrite)


def check_choice(project: Project, choice: Choice) -> None:
    """Raises AnswerRefusedError for an answer that the project does not offer."""
    if choice not in project.choices:
        words = _("This project does not offer the answer “%(answer)s”.") % {"answer": choice.label}
        raise AnswerRefusedError("choice", words)


def check_safety(project: Project, choice: Choice, safety: str, *, confirmed: bool) -> None:
    """Raises AnswerRefusedError, naming ``confirmed`` where the labeler is asked whether they mean a contradiction."""
    if safety and not project.asks_safety:
        raise AnswerRefusedError("safety", _("This project does not ask which responses are safe."))
    if project.asks_safety and not safety:
        raise AnswerRefusedError("safety", _("Say which responses are safe."))
    if contradicts(choice.side, safety) and not confirmed:
        words = _("You prefer a response that you call unsafe, while the other one is safe. Is that what you mean?")
        raise AnswerRefusedError("confirmed", words)


def check_reasons(project: Project, reasons: Reasons) -> None:
    """Raises AnswerRefusedError for reasons that the project does not take, or none where it asks for them."""
    if reasons.rationale and project.rationale == Rationale.OFF:
        raise AnswerRefusedError("rationale", _("This project asks for no reasons in words."))
    if not reasons.rationale and project.rationale == Rationale.REQUIRED:
        raise AnswerRefusedError("rationale", _("Say in a few words why."))
    if len(reasons.rationale) > MAX_RATIONALE:
        raise AnswerRefusedError("rationale", _("At most %(count)d characters, please.") % {"count": MAX_RATIONALE})
    if unknown := [tag for tag in reasons.tags if tag not in project.reason_tags]:
        raise AnswerRefusedError("reason_tags", _("“%(tag)s” is no reason of this project.") % {"tag": unknown[0]})
    if len(set(reasons.tags)) < len(reasons.tags):
        raise AnswerRefusedError("reason_tags", _("A reason is named twice."))


def _check_rewrite(project: Project, comparison: Comparison, choice: Choice, rewrite: str) -> None:
    if not project.allows_rewrite:
        raise AnswerRefusedError("rewrite", _("This project takes no rewrites."))
    if not choice.side:
        raise AnswerRefusedError("rewrite", _("Only a response that is better than the other can be rewritten."))
    if problem := find_unstorable(rewrite):
        raise AnswerRefusedError("rewrite", problem)
    if not rewrite.strip() or len(rewrite) > MAX_CHARACTERS:
        words = _("A rewrite has 1 to %(most)d characters.") % {"most": MAX_CHARACTERS}
        raise AnswerRefusedError("rewrite", words)
    if rewrite in (comparison.response_a.text, comparison.response_b.text):
        raise AnswerRefusedError("rewrite", _("The rewrite is the same text as a response; change it or leave it out."))
