"""One run a margin preset, otherwise alike, and their held-out accuracy by grade: Llama 2's Table 28 on your own votes.

python manage.py ablate_margin --dataset 1 --base SmolLM2-135M-Instruct --method reward --wait
python manage.py ablate_margin --show 7 8 9      # the table of runs that were launched before
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from training.engine.config import GRADES, MARGIN_PRESETS
from training.forms import propose_name
from training.management.launching import (
    Asked,
    add_launch_arguments,
    add_launcher_argument,
    follow_runs,
    launch_asked,
    locate,
    read_asked,
)
from training.models import Run


class Command(BaseCommand):
    help = "Launches one run for each margin preset and prints their held-out accuracy by grade."

    def add_arguments(self, parser: CommandParser) -> None:
        add_launch_arguments(parser)
        add_launcher_argument(parser)
        parser.add_argument("--presets", nargs="+", choices=list(MARGIN_PRESETS), default=list(MARGIN_PRESETS))
        parser.add_argument("--wait", action="store_true", help="Wait until workers are done, then show them.")
        parser.add_argument("--show", nargs="+", type=int, metavar="RUN", help="Launch nothing; show these runs.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["show"]:
            self.show(options["show"])
            return
        asked, presets = read_asked(options), list(dict.fromkeys(options["presets"]))
        if "margin" in asked.values:
            raise CommandError("--set margin: is what the runs differ in; choose with --presets")
        runs = launch_all(asked, presets, by=options["by"])
        for run, preset in zip(runs, presets, strict=True):
            self.stdout.write(f"Run {run.pk}, {run.name}: margin {preset}")
        others = "&".join(f"with={run.pk}" for run in runs[1:])
        self.stdout.write(f"Side by side: {locate(runs[0])}{'?' if others else ''}{others}")
        numbers = [run.pk for run in runs]
        if options["wait"]:
            follow_runs(runs, self.stdout)
            self.show(numbers)
        else:
            self.stdout.write(f"Afterwards: python manage.py ablate_margin --show {' '.join(map(str, numbers))}")

    def show(self, numbers: Sequence[int]) -> None:
        runs = {run.pk: run for run in Run.objects.filter(pk__in=numbers)}
        unknown = [number for number in numbers if number not in runs]
        if unknown:
            raise CommandError(f"--show: there is no run {unknown[0]}")
        found = {grade for run in runs.values() for grade in (run.result.get("eval") or {}).get("by_grade", {})}
        grades = [grade for grade in (*GRADES, "ungraded") if grade in found]
        heads = ["margin", *grades, "all", "longer response"]
        rows = [heads, *(_describe(runs[number], grades) for number in numbers)]
        widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(len(heads))]
        for row in rows:
            cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)]
            self.stdout.write("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
        self.stdout.write("Accuracy in % on held-out pairs (95 % interval, Wilson), n pairs.")


@transaction.atomic
def launch_all(asked: Asked, presets: Sequence[str], *, by: str = "") -> list[Run]:
    """A run a preset, all or none; each bears its preset in its name."""
    return [
        launch_asked(asked, name=propose_name(asked.method, asked.base_model, f"margin-{preset}"), by=by, margin=preset)
        for preset in presets
    ]


def _describe(run: Run, grades: Sequence[str]) -> list[str]:
    held_out = run.result.get("eval")
    name = f"{run.config.get('margin')} (run {run.pk})"
    if not held_out:
        return [name, f"no result: {run.state}"]
    parts = [held_out["by_grade"].get(grade) for grade in grades]
    return [name, *(_show_share(part) for part in [*parts, held_out, held_out["length_baseline"]])]


def _show_share(part: dict[str, Any] | None) -> str:
    """Accuracy in percent with its 95 % interval and the number of pairs."""
    if not part or part["accuracy"] is None:
        return "-"
    low, high = part["interval"]
    return f"{100 * part['accuracy']:.1f} ({100 * low:.0f}-{100 * high:.0f}) n={part['pairs']}"
