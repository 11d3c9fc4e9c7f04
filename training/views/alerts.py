"""Bad shapes of curves in words: what was seen, and what usually helps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from training.engine_texts import CAUSES, SHAPE_CAUSE
from training.models import Run


@dataclass(frozen=True)
class Alert:
    title: str
    seen: str
    advice: str


def list_alerts(run: Run) -> list[Alert]:
    """Those kept with the run; ones of another release are left out."""
    return list(_describe(run.alerts))


def _describe(found: Any) -> Iterator[Alert]:
    for each in found if isinstance(found, list) else []:
        if isinstance(each, Mapping) and (words := _list_words().get(str(each.get("code")))):
            seen, advice = words
            numbers = {name: f"{each.get(name) or 0:.4g}" for name in ("value", "limit")}
            yield Alert(str(CAUSES[SHAPE_CAUSE + each["code"]]), seen % {"step": each.get("step"), **numbers}, advice)


def _list_words() -> dict[str, tuple[str, str]]:
    """By code: what was seen, advice."""
    return {
        "not_finite": (
            _("First at step %(step)s."),
            _("Lower the learning rate, use fp32, or look at the data near that step."),
        ),
        "chance": (
            _("%(value)s over the last half of the steps, to step %(step)s; even its interval is below %(limit)s."),
            _("Check that the labels agree with each other, raise the learning rate, or train longer."),
        ),
        "inverted": (
            _("Accuracy %(value)s over the last half of the steps, to step %(step)s: below %(limit)s."),
            _("Chosen and rejected may be swapped in the data: look at some pairs and at the import."),
        ),
        "distance": (
            _("%(value)s nats by step %(step)s, beyond %(limit)s and twice as far as midway."),
            _("Raise beta, lower the learning rate, or stop earlier: so far out responses usually get worse."),
        ),
        "fall": (
            _("By step %(step)s both lost a share of %(value)s of their log-probability or more (limit %(limit)s)."),
            _("Add language modelling on the chosen responses (ORPO, CPO), raise beta, or lower the learning rate."),
        ),
        "spike": (
            _("To %(value)s at step %(step)s, above %(limit)s."),
            _("If it does not come back: lower the learning rate, warm up longer, look at the pairs of that step."),
        ),
        "gradient": (
            _("Its norm was %(value)s at step %(step)s, above %(limit)s."),
            _("Keep gradients clipped, lower the learning rate, or warm up longer."),
        ),
        "flat": (
            _("By step %(step)s it fell by %(value)s, less than its noise and than %(limit)s."),
            _("Raise the learning rate; with LoRA also its rank. Check that pairs are not cut to the same text."),
        ),
        "overfit": (
            _("It was best at step %(step)s and is %(value)s now, above %(limit)s at three evaluations."),
            _("Train for fewer steps, with more pairs, or with a smaller learning rate."),
        ),
        "length": (
            _("Gaps of reward and length of held-out pairs correlate by %(value)s at step %(step)s (limit %(limit)s)."),
            _("Compare with the baseline of the longer response; SimPO and pairs of like length are less drawn to it."),
        ),
    }
