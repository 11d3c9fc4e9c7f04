"""The walk from a frozen version back to single judgments, and from one comparison forward to the versions with it."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Exists, OuterRef, QuerySet

from annotate.models import (
    Comparison,
    DatasetVersion,
    DatasetVersionAdjudication,
    DatasetVersionJudgment,
    Judgment,
    Response,
)


@dataclass(frozen=True)
class Origin:
    """A response with where it came from, for admins."""

    letter: str
    response: Response
    is_recorded_winner: bool


def list_version_votes(version: DatasetVersion) -> QuerySet[DatasetVersionJudgment]:
    """The judgments behind a version's rows, in the order in which they were given."""
    votes = DatasetVersionJudgment.objects.filter(dataset_version=version)
    return votes.select_related("judgment__labeler", "judgment__comparison__prompt").order_by("judgment_id")


def list_comparison_judgments(comparison: Comparison) -> QuerySet[Judgment]:
    """All that was ever said of a pair; each row knows whether it ``stands`` or was superseded."""
    stands = ~Exists(Judgment.objects.filter(supersedes=OuterRef("pk")))
    return comparison.judgments.select_related("labeler", "rewrite").annotate(stands=stands).order_by("pk")


def list_versions_with(comparison: Comparison) -> QuerySet[DatasetVersion]:
    """The frozen versions that rest on a vote or a decision on this pair."""
    uses = DatasetVersionJudgment.objects.filter(dataset_version=OuterRef("pk"), judgment__comparison=comparison)
    rulings = DatasetVersionAdjudication.objects.filter(
        dataset_version=OuterRef("pk"), adjudication__comparison=comparison
    )
    return DatasetVersion.objects.filter(Exists(uses) | Exists(rulings)).select_related("project").order_by("number")


def list_origins(comparison: Comparison) -> list[Origin]:
    return [
        Origin(letter, response, comparison.recorded_winner == letter)
        for letter, response in (("a", comparison.response_a), ("b", comparison.response_b))
    ]
