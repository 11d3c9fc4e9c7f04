"""Two hundred labelers at once: how long they wait, and whether an answer is ever lost.

    python -m benchmarks.labeling                 (make bench-labeling: both databases, 10 k and 1 M comparisons, kills)
    python -m benchmarks.labeling --database sqlite --comparisons 10000 --minutes 1 --kills 0

For each trial: a data folder and a database of its own (on PostgreSQL made and dropped again), filled; the web server
as ``manage.py serve`` starts it; labelers who think for a while before each answer. Waiting times are measured in
windows; then the server is killed again and again under the same labelers, thinking less. At the end everything that
was acknowledged is held against what is stored. Last what a lead waits for: reports on many votes. Needs room for 2 GB
on the disk, and for PostgreSQL a server.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from benchmarks.labeling.scratch import DATABASES, POSTGRESQL, run_in_scratch
from benchmarks.labeling.tables import show_kills, show_reports, show_waits

PARTS = ("quality", "preview", "majority", "weighed")
"""The reports of benchmarks/labeling/reports.py: label quality, a dataset's preview, versions by two rules."""
KILL_THINK_S = 4.0
"""Mean pause while the server is killed: shorter, so that more is under way."""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.labeling", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--database", nargs="*", choices=DATABASES, default=DATABASES)
    parser.add_argument("--comparisons", nargs="*", type=int, default=[10_000, 1_000_000])
    parser.add_argument("--labelers", type=int, default=200)
    parser.add_argument("--think", type=float, default=20.0, help="mean pause before an answer, seconds")
    parser.add_argument("--minutes", type=float, default=2.0, help="length of a window")
    parser.add_argument("--repeats", type=int, default=3, help="windows a trial; the tables show their medians")
    parser.add_argument("--kills", type=int, default=100, help="of the web server, at the least number of comparisons")
    parser.add_argument("--votes", type=int, default=100_000, help="on which a lead's reports are timed")
    parser.add_argument("--postgresql", default=POSTGRESQL, help="whoever may CREATE DATABASE")
    options = parser.parse_args(arguments)
    trials = []
    for database in options.database:
        measured = [
            run_trial(database, options, comparisons=comparisons, repeats=options.repeats)
            for comparisons in (options.comparisons if options.repeats else [])
        ]
        print(show_waits(measured), end="\n\n", flush=True)
        killed = []
        if options.kills:
            fewest = min(options.comparisons)
            killed.append(run_trial(database, options, comparisons=fewest, kills=options.kills, think=KILL_THINK_S))
        print(show_kills(killed), end="\n\n", flush=True)
        if options.votes:
            print(show_reports([time_reports(database, options)]), end="\n\n", flush=True)
        trials += [*measured, *killed]
    if any(trial["errors"] or trial["crashes"] or count_wrongs(trial) for trial in trials):
        sys.exit("Something went wrong: see the tables.")


def run_trial(
    database: str, options: argparse.Namespace, *, comparisons: int, repeats: int = 0, kills: int = 0, think: float = 0
) -> dict[str, Any]:
    """One trial in a process of its own, with a data folder and a database of its own; both are gone afterwards."""
    plan = {
        "comparisons": comparisons,
        "labelers": options.labelers,
        "minutes": options.minutes,
        "repeats": repeats,
        "kills": kills,
        "think": think or options.think,
    }
    print(f"{database}: {plan}", file=sys.stderr)
    program = ["benchmarks.labeling.trial", *(f"--{name}={value}" for name, value in plan.items())]
    return run_in_scratch(database, options.postgresql, program)[0]


def time_reports(database: str, options: argparse.Namespace) -> dict[str, Any]:
    """What the reports on so many votes cost, each in a process of its own."""
    program = "benchmarks.labeling.reports"
    parts = [[program, f"--part={part}"] for part in PARTS]
    _filled, *costs = run_in_scratch(database, options.postgresql, [program, f"--fill={options.votes}"], *parts)
    return {"database": database, "votes": options.votes, "costs": costs}


def count_wrongs(trial: dict[str, Any]) -> int:
    return sum(trial[name] for name in ("lost", "doubled", "over_assigned", "miscounted"))


if __name__ == "__main__":
    main(sys.argv[1:])
