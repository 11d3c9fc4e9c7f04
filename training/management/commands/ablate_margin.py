"""One run a margin preset, otherwise alike, and their held-out accuracy by grade: Llama 2's Table 28 on your own votes.

python manage.py ablate_margin --dataset 1 --base SmolLM2-135M-Instruct --method reward --wait
python manage.py ablate_margin --show 7 8 9      # the table of runs that were launched before
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse

from training.engine.config import GRADES, MARGIN_PRESETS
from training.management.launching import add_launch_arguments, launch_from
from training.models import Run

LOOK_EVERY_S = 2.0


class Command(BaseCommand):
    help = "Launches one run for each margin preset and prints their held-out accuracy by grade."

    def add_arguments(self, parser: CommandParser) -> None:
        add_launch_arguments(parser)
        parser.add_argument("--presets", nargs="+", choices=list(MARGIN_PRESETS), default=list(MARGIN_PRESETS))
        parser.add_argument("--wait", action="store_true", help="Wait until workers are done, then show them.")
        parser.add_argument("--show", nargs="+", type=int, metavar="RUN", help="Launch nothing; show these runs.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["show"]:
            self.show(options["show"])
            return
        runs = [launch_from(options, margin=preset) for preset in options["presets"]]
        numbers = [run.pk for run in runs]
        for run, preset in zip(runs, options["presets"], strict=True):
            self.stdout.write(f"Run {run.pk}, {run.name}: margin {preset}")
        others = "&".join(f"with={number}" for number in numbers[1:])
        self.stdout.write(f"Side by side: {reverse('run_detail', args=numbers[:1])}?{others}")
        if options["wait"]:
            while Run.objects.filter(pk__in=numbers, state__in=["queued", "running"]).exists():
                time.sleep(LOOK_EVERY_S)
            self.show(numbers)
        else:
            self.stdout.write(f"Afterwards: ablate_margin --show {' '.join(map(str, numbers))}")

    def show(self, numbers: Sequence[int]) -> None:
        runs = {run.pk: run for run in Run.objects.filter(pk__in=numbers)}
        unknown = [number for number in numbers if number not in runs]
        if unknown:
            raise CommandError(f"--show: there is no run {unknown[0]}")
        found = {grade for run in runs.values() for grade in (run.result.get("eval") or {}).get("by_grade", {})}
        grades = [grade for grade in (*GRADES, "ungraded") if grade in found]
        self.stdout.write("  ".join(f"{title:>22}" for title in ("margin", *grades, "all", "longer response")))
        for number in numbers:
            self.stdout.write("  ".join(f"{cell:>22}" for cell in _describe(runs[number], grades)))


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
