"""Prints how good a project's labels are: agreement, reliability of labelers, position bias, style.

python manage.py label_quality --project SLUG [--json]
"""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from annotate.management.printing import find_project
from annotate.quality.intervals import Estimate
from annotate.quality.repeats import Repeats
from annotate.quality.style import StyleEffects
from annotate.selectors.quality import QualityReport, measure_quality


class Command(BaseCommand):
    help = (
        "Prints agreement, reliability of labelers, position bias and style of a project's votes, with 95 % intervals."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, help="Short name (slug) of the project.")
        parser.add_argument("--json", action="store_true", help="Print the figures as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        report = measure_quality(find_project(options["project"]))
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json(), indent=2))
        else:
            self._print_report(report)

    def _print_report(self, report: QualityReport) -> None:
        self.stdout.write(
            f"{report.votes} votes on {report.comparisons} comparisons, {report.repeated} with two or more"
        )
        for name in ("agreement", "alpha_decisions", "alpha_grades", "fleiss"):
            self._print("", name, getattr(report, name))
        for grade, share in report.by_grade.items():
            self._print("agreement by grade", grade, share)
        for week, share in report.by_week.items():
            self._print("agreement by week", week, share)
        self._print("left side", "share of wins", report.position)
        self._print("left side", "log-odds, same pair both ways", report.side_effect)
        self._print_repeats("repeats", report.repeats)
        for labeler in report.labelers:
            self.stdout.write(f"labeler {labeler.name}: {labeler.votes} votes, weight {labeler.weight:.3f}")
            self._print(" ", "agreement with others", labeler.agreement)
            self._print(" ", "reliability", labeler.reliability)
            self._print(" ", "left wins" + (" (BIASED)" if labeler.is_flagged else ""), labeler.position)
            self._print_repeats("  repeats", labeler.repeats)
        for first, second, kappa in report.cohen:
            self._print("Cohen's kappa", f"{first}, {second}", kappa)
        for model in report.models:
            self._print("model", f"{model.name}, strength, {model.wins} wins", model.strength)
        self._print_style("labelers", report.style)
        for name, effects in report.style_of_models.items():
            self._print_style(name, effects)

    def _print_repeats(self, who: str, repeats: Repeats) -> None:
        if repeats.same.count:
            self._print(who, "same answer", repeats.same)
            self._print(who, "same side", repeats.same_side)
            self._print(who, "pull of the left, log-odds", repeats.pull)
            self._print(who, "change of the grade, steps", repeats.shift)

    def _print_style(self, who: str, effects: StyleEffects) -> None:
        for feature, effect in effects.features.items():
            self._print(f"style, {who}", feature, effect)

    def _print(self, group: str, name: str, estimate: Estimate) -> None:
        label = f"{group}: {name}".removeprefix(": ")
        self.stdout.write(f"{label}: {describe(estimate)}")


def describe(estimate: Estimate) -> str:
    """0.812 (0.790 to 0.832), n = 1,204."""
    if estimate.value is None:
        return "not defined"
    interval = "" if estimate.low is None else f" ({estimate.low:.3f} to {estimate.high:.3f})"
    return f"{estimate.value:.3f}{interval}, n = {estimate.count:,}"
