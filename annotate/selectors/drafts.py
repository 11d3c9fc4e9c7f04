"""What a labeler has begun to say of a pair, for that labeler alone."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from annotate.models import Assignment, Draft
from annotate.selectors.answers import name_fields


def find_draft(assignment: Assignment) -> Draft | None:
    """The draft of the answer that is still to come; one that came after an answer is none."""
    return Draft.objects.filter(assignment=assignment, token=assignment.token).first()


def describe_draft(draft: Draft) -> dict[str, Any]:
    """For the page, which tells by ``age``, in seconds, whether the browser's own draft is newer."""
    return {
        "age": (timezone.now() - draft.updated_at).total_seconds(),
        "seconds": draft.seconds,
        "fields": name_fields(draft.choice, draft.safety, draft.reason_tags, draft.rationale, draft.rewrite),
    }
