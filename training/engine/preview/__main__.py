"""``python -m training.engine.preview RUN_DIR [--examples N] [--start N]``

reads the ``config.json`` of a run folder (see spec.py), prints, and writes nothing. With ``--result`` it writes
``result.json`` into the folder instead, under the contract of models_registry/inference/program.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from models_registry.inference.job_input import read_config, read_number
from models_registry.inference.program import Program, ProgramError
from training.engine.config import ConfigErrors
from training.engine.preview import preview_run
from training.engine.preview.text import describe_preview
from training.engine.spec import RunSpec


def main(program: Program) -> None:
    """The program a worker starts: ``config.json`` of a run, with ``examples`` beside it, to ``result.json``."""
    raw = read_config(program.folder)
    examples = int(read_number(raw, "examples", 5, 0, 100, whole=True))
    program.report("running", message="Reading the data")
    with program.leaving_at_once():
        program.write_result(preview_run(_read_spec(program.folder), examples=examples))


def _read_spec(folder: Path) -> RunSpec:
    try:
        return RunSpec.read(folder)
    except ConfigErrors as errors:
        raise ProgramError("bad_config", str(errors)) from errors


def start(arguments: list[str]) -> int:
    """Exit code: 0 done, 1 failed, 2 wrong usage, 3 stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m training.engine.preview", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", type=Path, metavar="RUN_DIR", help="holds config.json; or that file itself")
    parser.add_argument("--examples", type=int, default=5, help="rows shown token by token (default 5)")
    parser.add_argument("--start", type=int, default=0, help="the first of them, counted from 0 among the used rows")
    parser.add_argument("--result", action="store_true", help="write result.json into the folder and print nothing")
    options = parser.parse_args(arguments)
    if options.result:
        return Program(options.folder.resolve()).run(main)
    try:
        result = preview_run(_read_spec(options.folder), examples=options.examples, start=options.start)
    except ProgramError as error:
        print(f"failed ({error.code}): {error}", file=sys.stderr)
        return 1
    print(describe_preview(result, colour=sys.stdout.isatty()))
    return 0


if __name__ == "__main__":
    sys.exit(start(sys.argv[1:]))
