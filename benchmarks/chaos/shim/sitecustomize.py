"""Python imports this at the start of each process of a house under ``make chaos``; it touches only training programs.

A trainer writes down, by the machine's clock that nobody can move, when it is launched and when it begins each step, in
CHAOS_TRACE/<run>-<epoch>.jsonl. After each step it sleeps for CHAOS_PAUSE_S: a tiny model would be done before anything
could happen to it.
"""

import json
import os
import sys
import time
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from pathlib import Path

ENGINE, LOOP = "training.engine.run", "training.engine.loop"


def note(what: str, step: int = 0) -> None:
    attempt = Path(sys.orig_argv[-1])
    name = f"{attempt.parent.name}-{attempt.name.removeprefix('attempt-')}.jsonl"
    line = {"what": what, "step": step, "at": time.monotonic(), "pid": os.getpid()}
    with (Path(os.environ["CHAOS_TRACE"]) / name).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


class LoopFinder(MetaPathFinder):
    """Wraps the loop's step as soon as the module is there."""

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name != LOOP:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        assert spec and spec.loader  # noqa: S101
        load = spec.loader.exec_module

        def exec_module(module):  # type: ignore[no-untyped-def]
            load(module)
            train = module.Trainer._step

            def step(self, micro_batches):  # type: ignore[no-untyped-def]
                note("step", self.progress.step + 1)
                train(self, micro_batches)
                time.sleep(float(os.environ["CHAOS_PAUSE_S"]))

            module.Trainer._step = step

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if "CHAOS_TRACE" in os.environ and ENGINE in sys.orig_argv:
    note("launch")
    sys.meta_path.insert(0, LoopFinder())
