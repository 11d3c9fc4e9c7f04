"""What a lead waits for: one of the reports on a project's votes; prints one line of JSON with seconds and memory.

``python -m benchmarks.labeling`` starts it, once for each part, with DATA_DIR and DATABASE_URL of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial

import django

django.setup()

from django.core.management import call_command  # noqa: E402

from annotate.exporting.rule import Aggregation, DatasetRule  # noqa: E402
from annotate.models import Project  # noqa: E402
from annotate.selectors.quality import measure_quality  # noqa: E402
from annotate.services.datasets import build_dataset_version, freeze_dataset, preview_dataset  # noqa: E402
from annotate.services.work_here import do_work_here  # noqa: E402
from benchmarks.labeling.stage import VOTES, fill_project  # noqa: E402
from benchmarks.meter import Meter, read_peak_mib, read_resident_mib  # noqa: E402

LABELERS = 200


def fill(votes: int) -> None:
    call_command("migrate", verbosity=0, interactive=False)
    fill_project(votes // VOTES, LABELERS, judged_share=1.0)


def freeze(aggregation: Aggregation) -> None:
    project = Project.objects.get()
    rule = DatasetRule(aggregation=aggregation)
    do_work_here(partial(freeze_dataset, project=project, rule=rule, by=project.created_by), build_dataset_version)


def run_part(part: str) -> None:
    project = Project.objects.get()
    if part == "quality":
        measure_quality(project)
    elif part == "preview":
        preview_dataset(project=project, rule=DatasetRule())
    else:
        freeze(Aggregation(part))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fill", type=int)
    parser.add_argument("--part")
    options = parser.parse_args(arguments)
    before, meter = read_resident_mib(), Meter()
    with meter:
        fill(options.fill) if options.fill else run_part(options.part)
    cost = {"wall_s": meter.wall_s, "cpu_s": meter.cpu_s, "before_mib": before, "peak_mib": read_peak_mib()}
    print(json.dumps(cost | {"part": options.part or "fill"}))


if __name__ == "__main__":
    main(sys.argv[1:])
