"""Projects, what is compared, who judged it how, and the frozen datasets that come of it."""

from annotate.models.answers import (
    SIDED_GRADES,
    SIDELESS_GRADES,
    Choice,
    FlagReason,
    Grade,
    Rationale,
    SafeResponses,
    Safety,
    Scale,
    Side,
    SkipReason,
)
from annotate.models.audit import AuditAction, AuditEvent
from annotate.models.content import Comparison, Hold, Prompt, Response, ResponseScore
from annotate.models.datasets import DatasetVersion, DatasetVersionJudgment
from annotate.models.drafts import Draft
from annotate.models.gold import GoldAnswer, StandingDecision
from annotate.models.judging import Assignment, Flag, Judgment
from annotate.models.projects import GuidelineReading, GuidelineVersion, Membership, Project, Role
from annotate.models.review import Adjudication, BlindAnswer, DatasetVersionAdjudication
from annotate.models.work import Import, SamplingJob, ScoringJob

__all__ = [
    "SIDED_GRADES",
    "SIDELESS_GRADES",
    "Adjudication",
    "Assignment",
    "AuditAction",
    "AuditEvent",
    "BlindAnswer",
    "Choice",
    "Comparison",
    "DatasetVersion",
    "DatasetVersionAdjudication",
    "DatasetVersionJudgment",
    "Draft",
    "Flag",
    "FlagReason",
    "GoldAnswer",
    "Grade",
    "GuidelineReading",
    "GuidelineVersion",
    "Hold",
    "Import",
    "Judgment",
    "Membership",
    "Project",
    "Prompt",
    "Rationale",
    "Response",
    "ResponseScore",
    "Role",
    "SafeResponses",
    "Safety",
    "SamplingJob",
    "Scale",
    "ScoringJob",
    "Side",
    "SkipReason",
    "StandingDecision",
]
