"""What was said of gold pairs, and how near it came to the known answers. For reviewers alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from django.contrib.auth.models import User
from django.db.models import Count, Exists, OuterRef, QuerySet

from annotate.exporting.rule import Aggregation, DatasetRule
from annotate.models import Assignment, Comparison, DatasetVersion, GoldAnswer, Judgment, Project, StandingDecision
from annotate.quality.gold import measure_credit, measure_evidence
from annotate.selectors.pair_words import hold_words
from annotate.selectors.projects import list_members
from annotate.selectors.standing import find_decision, list_newest_decisions
from models_registry.models import WorkState

GOLD_KINDS = (Assignment.Kind.QUALIFICATION, Assignment.Kind.GOLD)
_MOST_UNJUDGED, _SEARCHED = 20, 20_000
"""Pairs that are offered to become gold, and how many are looked through for words."""
_SUSPICIOUS_FROM = 3
"""Judgments from which on a gold pair that most fail is marked: perhaps its answer is wrong."""
_SUSPICIOUS_BELOW = 0.5


@dataclass(frozen=True)
class GoldJudgment:
    """A vote on a gold pair with its credit in [0, 1]."""

    judgment: Judgment
    credit: float


@dataclass(frozen=True)
class GoldFigures:
    """A gold pair, how often it was judged as one, and the mean credit (None where it never was)."""

    gold: GoldAnswer
    judged: int
    mean: float | None

    @property
    def is_suspicious(self) -> bool:
        return self.mean is not None and self.judged >= _SUSPICIOUS_FROM and self.mean < _SUSPICIOUS_BELOW


@dataclass(frozen=True)
class LabelerRecord:
    """One labeler's gold. ``evidence`` is the e-value of the test over the last ``tested``; ``decision`` stands."""

    labeler: User
    judged: int
    mean: float | None
    skips: int
    tested: int
    evidence: float
    decision: StandingDecision | None

    @property
    def shown_evidence(self) -> str:
        """With two digits, however large."""
        return f"{self.evidence:.2g}" if self.evidence < 1e4 else "> 10,000"

    @property
    def is_paused(self) -> bool:
        return self.decision is not None and self.decision.is_pausing

    @property
    def appeals(self) -> bool:
        return self.decision is not None and self.decision.action == StandingDecision.Action.APPEALED


def select_gold_votes(project: Project) -> QuerySet[Judgment]:
    """The standing votes on pairs that were handed out as gold, and are gold that counts."""
    votes = Judgment.objects.filter(project=project, action=Judgment.Action.VOTE, superseded_by=None)
    return votes.filter(assignment__kind__in=GOLD_KINDS, comparison__gold__is_active=True)


def list_gold_judgments(project: Project, labeler: User | None = None) -> list[GoldJudgment]:
    """Votes on gold that counts, of one labeler or all, newest first, each with its comparison and known answer."""
    votes = select_gold_votes(project).select_related("labeler", "comparison__gold", "comparison__prompt", "assignment")
    if labeler:
        votes = votes.filter(labeler=labeler)
    return [GoldJudgment(vote, read_credit(vote)) for vote in votes.order_by("-pk")]


def read_credit(vote: Judgment) -> float:
    """Of a vote on a gold pair, by the scale that its labeler was offered."""
    gold = vote.comparison.gold
    return measure_credit(vote.scale, (gold.winner, gold.grade), (vote.winner, vote.grade))


def read_credits(project: Project, labeler: User, kind: str = "", after: int = 0) -> list[float]:
    """Credits of a labeler's votes beyond judgment ``after``, in order; of one kind of gold, or all."""
    votes = select_gold_votes(project).filter(labeler=labeler, pk__gt=after)
    if kind:
        votes = votes.filter(assignment__kind=kind)
    return [read_credit(vote) for vote in votes.select_related("comparison__gold").order_by("pk")]


def list_unjudged(project: Project, words: str = "") -> list[Comparison]:
    """A few pairs that nobody has judged and that may become gold, with these words if any are given; oldest first."""
    pairs = Comparison.objects.filter(project=project, gold=None, hold="")
    pairs = pairs.filter(~Exists(Assignment.objects.filter(comparison=OuterRef("pk"))))
    if words:
        some = pairs.order_by("pk").values("pk")[:_SEARCHED]
        pairs = hold_words(Comparison.objects.filter(pk__in=some), words)
    return list(pairs.select_related("prompt").order_by("pk")[:_MOST_UNJUDGED])


def list_gold(project: Project) -> list[GoldFigures]:
    """All gold of a project, the suspicious first, then what is in use, newest first."""
    credits: defaultdict[int, list[float]] = defaultdict(list)
    votes = Judgment.objects.filter(project=project, action=Judgment.Action.VOTE, superseded_by=None)
    votes = votes.filter(assignment__kind__in=GOLD_KINDS)
    for vote in votes.select_related("comparison__gold"):
        credits[vote.comparison_id].append(read_credit(vote))
    rows = GoldAnswer.objects.filter(comparison__project=project).select_related("comparison__prompt", "created_by")
    figures = [
        GoldFigures(gold, len(said), fmean(said) if said else None)
        for gold in rows.order_by("-pk")
        for said in [credits[gold.comparison_id]]
    ]
    return sorted(figures, key=lambda row: (not row.is_suspicious, not row.gold.is_active))


def list_records(project: Project) -> list[LabelerRecord]:
    """The gold record of every member; appeals first, then the paused."""
    decisions = {decision.labeler_id: decision for decision in list_newest_decisions(project)}
    said: defaultdict[int, list[Judgment]] = defaultdict(list)
    for vote in select_gold_votes(project).select_related("comparison__gold").order_by("pk"):
        said[vote.labeler_id].append(vote)
    skips = _count_skips(project)
    records = [
        describe_record(project, member, said[member.pk], skips.get(member.pk, 0), decisions.get(member.pk))
        for member in list_members(project)
    ]
    return sorted(records, key=lambda record: (not record.appeals, not record.is_paused))


def find_record(project: Project, labeler: User) -> LabelerRecord:
    """The gold record of one labeler."""
    votes = list(select_gold_votes(project).filter(labeler=labeler).select_related("comparison__gold").order_by("pk"))
    skips = _count_skips(project).get(labeler.pk, 0)
    return describe_record(project, labeler, votes, skips, find_decision(project, labeler))


def describe_record(
    project: Project, labeler: User, said: list[Judgment], skips: int, decision: StandingDecision | None
) -> LabelerRecord:
    """From a labeler's votes on gold, in order."""
    credits = [read_credit(vote) for vote in said]
    start = decision.counts_from if decision else 0
    tested = [credit for vote, credit in zip(said, credits, strict=True) if vote.pk > start]
    return LabelerRecord(
        labeler=labeler,
        judged=len(said),
        mean=fmean(credits) if credits else None,
        skips=skips,
        tested=len(tested),
        evidence=measure_evidence(tested, project.gold_bar),
        decision=decision,
    )


def _count_skips(project: Project) -> dict[int, int]:
    skipped = Assignment.objects.filter(project=project, kind__in=GOLD_KINDS, state=Assignment.State.SKIPPED)
    return dict(skipped.order_by().values_list("labeler").annotate(Count("pk")))


def map_as_if_frozen(judgments: Iterable[Judgment]) -> dict[int, int]:
    """Votes on pairs that were handed out as gold: number of the first version that would rest on an ordinary one.

    So that gold cannot be told by its answers staying open when those before and after are closed.
    """
    extra = [said for said in judgments if said.winner and said.assignment.kind != Assignment.Kind.ORDINARY]
    frozen: dict[int, int] = {}
    for project_id in {said.project_id for said in extra}:
        versions = DatasetVersion.objects.filter(project=project_id, state=WorkState.FINISHED)
        for version in versions.exclude(rule__aggregation=Aggregation.RECORDED).order_by("-number"):
            rule = DatasetRule.from_json(version.rule)
            frozen |= {
                said.pk: version.number
                for said in extra
                if said.pk <= version.judgment_cutoff
                and said.grade in rule.grades
                and said.labeler_id not in rule.left_out_labelers
            }
    return frozen
