"""Projects, what is compared, who judged it how, and the frozen datasets that come of it."""

from annotate.models.content import Comparison, Prompt, Response, ResponseScore
from annotate.models.datasets import DatasetVersion, DatasetVersionJudgment
from annotate.models.judging import Assignment, Choice, Grade, Judgment, Side, SkipReason
from annotate.models.projects import Membership, Project
from annotate.models.work import Import, SamplingJob, ScoringJob

__all__ = [
    "Assignment",
    "Choice",
    "Comparison",
    "DatasetVersion",
    "DatasetVersionJudgment",
    "Grade",
    "Import",
    "Judgment",
    "Membership",
    "Project",
    "Prompt",
    "Response",
    "ResponseScore",
    "SamplingJob",
    "ScoringJob",
    "Side",
    "SkipReason",
]
