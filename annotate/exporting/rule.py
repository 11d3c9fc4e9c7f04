"""The rule of a dataset version: which votes count, how they are put together, how the rows are split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.models import SIDED_GRADES, Grade

STRENGTHS: dict[str, float] = dict(zip(SIDED_GRADES, (1.0, 2 / 3, 1 / 3, 0.0), strict=True))
"""What a grade counts in ``margin``: Llama 2's small margins (arXiv 2307.09288, table 27).

Data, not policy: a training run maps ``grade`` to numbers of its own.
"""

MAX_EVAL_SHARE = 0.5
MAX_SEED = 2**31 - 1
MAX_VOTES = 20


class Aggregation(models.TextChoices):
    MAJORITY = "majority", gettext_lazy("Majority: the side with more votes wins")
    UNANIMOUS = "unanimous", gettext_lazy("Unanimous: all votes are for one side")
    WEIGHED = "weighed", gettext_lazy("Weighed by reliability: the side that is likelier, given who voted for it")
    SINGLE = "single", gettext_lazy("Single votes: each vote is a row of its own")
    RECORDED = "recorded", gettext_lazy("Imported winners: what the imported file names as better, without any votes")


class RuleError(ValueError):
    """A rule that makes no sense; ``field`` is the one to mend, the text says why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


@dataclass(frozen=True)
class DatasetRule:
    """Checked by ``check``; stored as JSON in ``DatasetVersion.rule``."""

    aggregation: str = Aggregation.MAJORITY
    min_votes: int = 1
    """Comparisons with fewer counted votes, those without a side included, are left out."""
    grades: tuple[str, ...] = SIDED_GRADES
    """Rows of other grades are left out, after aggregation."""
    count_surplus: bool = True
    """Whether votes count that came after their place was given to somebody else."""
    left_out_labelers: tuple[int, ...] = ()
    """Numbers of the accounts whose votes do not count."""
    eval_share: float = 0.1
    """Share of prompts kept for evaluation; see split.py."""
    split_seed: int = 0
    include_rewrites: bool = False
    """Whether a rewrite makes two more rows: better than each of the two responses."""
    include_reasons: bool = False
    """Whether each row carries what its labelers said beside their votes."""

    def check(self) -> None:
        """Raises RuleError."""
        if self.aggregation not in Aggregation.values:
            raise RuleError("aggregation", _("Choose one of: %s.") % ", ".join(Aggregation.values))
        if not 1 <= self.min_votes <= MAX_VOTES:
            raise RuleError("min_votes", _("The least number of votes is between 1 and %d.") % MAX_VOTES)
        if not self.grades or set(self.grades) - set(STRENGTHS):
            raise RuleError("grades", _("Choose at least one of: %s.") % ", ".join(STRENGTHS))
        if not 0.0 <= self.eval_share <= MAX_EVAL_SHARE:
            raise RuleError("eval_share", _("The share for evaluation is between 0 and 0.5."))
        if not 0 <= self.split_seed <= MAX_SEED:
            raise RuleError("split_seed", _("The seed is a whole number from 0 to %d.") % MAX_SEED)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"grades": list(self.grades), "left_out_labelers": sorted(self.left_out_labelers)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DatasetRule:
        """The rule as stored by as_json; fields it does not know are an error (TypeError)."""
        fields = dict(data)
        for name in ("grades", "left_out_labelers"):
            if name in fields:
                fields[name] = tuple(fields[name])
        return cls(**fields)


def describe_rule(rule: DatasetRule) -> list[str]:
    """The rule in words, one sentence a part."""
    words = [str(Aggregation(rule.aggregation).label) + "."]
    if rule.min_votes > 1:
        words.append(_("At least %d votes.") % rule.min_votes)
    if set(rule.grades) != set(STRENGTHS):
        words.append(_("Only grades: %s.") % ", ".join(str(Grade(grade).label) for grade in rule.grades))
    if not rule.count_surplus:
        words.append(_("Surplus votes do not count."))
    if rule.left_out_labelers:
        words.append(_("Votes of %d labelers do not count.") % len(rule.left_out_labelers))
    if rule.include_rewrites:
        words.append(_("Rewrites enter as better than both responses."))
    if rule.include_reasons:
        words.append(_("With the labelers' reasons."))
    words.append(
        _("%(share)s %% of prompts for evaluation, split by seed %(seed)d.")
        % {"share": f"{100 * rule.eval_share:g}", "seed": rule.split_seed}
    )
    return words
