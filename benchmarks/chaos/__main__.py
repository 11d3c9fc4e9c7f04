"""Everything that dies is killed under real runs; each still has to end once, with the weights of an undisturbed one.

    python -m benchmarks.chaos                                  (make chaos: three set-ups, 210 runs)
    python -m benchmarks.chaos --set-up sqlite --runs 10 --only kill_trainer

Each set-up is a house of its own in a folder of its own: the web server and workers as ``manage.py serve`` starts
them, with SQLite and the broker of files, or with a PostgreSQL and a Redis or RabbitMQ that are started for it and
killed. The lease is 10 s in place of 120. Runs train a tiny model with the real engine. Needs Debian's postgresql,
redis-server, rabbitmq-server and gcc, and root for the disk that fills.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.chaos.tables import list_wrongs, show_faults, show_set_ups
from benchmarks.chaos.trial import SET_UPS
from benchmarks.labeling.scratch import ROOT


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.chaos", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--set-up", nargs="*", choices=SET_UPS, default=SET_UPS)
    parser.add_argument("--runs", type=int, default=70, help="of each set-up, about")
    parser.add_argument("--lanes", type=int, default=3, help="runs at a time")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--only", default="", help="one kind of fault, kill_trainer say; see faults.py")
    parser.add_argument("--minutes", type=float, default=0, help="begin nothing more after so long; 0: no limit")
    parser.add_argument("--keep", type=Path, help="an empty folder for logs and traces, kept afterwards")
    options = parser.parse_args(arguments)
    trials = [run_trial(set_up, options) for set_up in options.set_up]
    print(show_set_ups(trials), show_faults(trials), sep="\n\n")
    if wrongs := list_wrongs(trials):
        sys.exit("\n".join(wrongs))


def run_trial(set_up: str, options: argparse.Namespace) -> dict[str, Any]:
    print(f"{set_up}: about {options.runs} runs, seed {options.seed}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="plumbline-chaos-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        if options.keep:
            folder = options.keep.resolve() / set_up
            folder.mkdir(parents=True)
        folder.chmod(0o711)  # PostgreSQL's own account passes through
        command = [sys.executable, "-m", "benchmarks.chaos.trial", f"--set-up={set_up}", f"--folder={folder}"]
        command += [f"--{name}={getattr(options, name)}" for name in ("runs", "lanes", "seed", "only", "minutes")]
        finished = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        result: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
        if options.keep:
            (folder / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
        return result


if __name__ == "__main__":
    main(sys.argv[1:])
