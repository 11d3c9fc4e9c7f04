"""What training costs with the engine and with TRL: the same pairs, weights, batch size and one thread.

    python -m benchmarks.run                      (make bench: everything, about two hours on two cores)
    python -m benchmarks.run --model stories15M --method dpo --pairs 32 --rounds 1
    python -m benchmarks.run --report             (the tables of what was measured so far)

Every run is a process of its own, and the systems take turns, so that what else the machine does hits all of them.
CPU seconds are the figure: wall time depends on other programs. Results are added to results.jsonl in the work folder;
what stands there is not measured again. Variables: BENCH_WORK (work folder), HH_PAIRS (an HH-RLHF file), STORIES15M and
SMOLLM2 (model folders; the latter is fetched if it is not set).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.pairs import MAX_LENGTH, MODELS, ROOT, WORK, prepare_inputs
from benchmarks.report import report

METHODS = ("dpo", "orpo", "reward")
PLANS = {"stories15M": (64, 3), "SmolLM2-135M-Instruct": (24, 2)}
"""Pairs and rounds by model."""
BATCH = 8
LIMIT_S = 1800
TRL_BEST = {"bf16": True, "gradient_checkpointing": False, "group_by_length": True}
"""Of the settings that TRL offers, those that were found to pay on a CPU."""
LARGE_ARENA = {
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**28),
}
"""glibc then keeps memory instead of handing it back to the system and clearing it anew in every step."""


@dataclass(frozen=True)
class System:
    """A way to train: a program with settings."""

    name: str
    program: str
    """``ours``, ``trl`` or the version of a TRL in an environment of its own."""
    settings: dict[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    methods: tuple[str, ...] = METHODS
    models: tuple[str, ...] = MODELS
    rounds: int = 99
    """At most so many, for systems that are here for comparison only."""


OLD = "1.14.2"
SYSTEMS = (
    System("Plumbline", "ours"),
    System("TRL 1.16.0 as shipped", "trl"),
    System("TRL 1.16.0 best settings", "trl", TRL_BEST),
    System("Plumbline, fp32", "ours", {"precision": "fp32"}),
    System(f"TRL {OLD} as shipped", OLD, rounds=1),
    System(f"TRL {OLD} best settings", OLD, TRL_BEST, rounds=1),
    System("TRL 1.16.0 as shipped, memory kept", "trl", variables=LARGE_ARENA, rounds=1),
    System("TRL 1.16.0 best settings, memory kept", "trl", TRL_BEST, variables=LARGE_ARENA, rounds=1),
    System("Plumbline, memory kept", "ours", variables=LARGE_ARENA, rounds=1),
)
SMALL = ("stories15M",)
EVERYTHING_OFF = {
    "precision": "fp32",
    "layout": "plain",
    "attention": "sdpa",
    "tokens_per_pass": 2**24,
    "length_buckets": False,
    "gradient_checkpointing": "on",
}
POLICIES = ("dpo", "orpo")
TRICKS = (
    System("without shared prompts", "ours", {"layout": "plain"}, models=SMALL),
    System("shared prompts under a mask", "ours", {"attention": "sdpa"}, models=SMALL),
    System("whole batches in one pass", "ours", {"tokens_per_pass": 2**24}, models=SMALL),
    System("without length buckets", "ours", {"length_buckets": False}, models=SMALL),
    System("head at every position", "ours", options=("--full-head",), methods=POLICIES, models=SMALL),
    System("head by PyTorch's cross entropy", "ours", options=("--plain-head",), methods=POLICIES, models=SMALL),
    System("with checkpointing", "ours", {"gradient_checkpointing": "on"}, models=SMALL),
    System("all of these", "ours", EVERYTHING_OFF, options=("--full-head",), methods=POLICIES, models=SMALL),
    System("all of these", "ours", EVERYTHING_OFF, methods=("reward",), models=SMALL),
    System("reference from the cache", "ours", options=("--reference-cache",), methods=("dpo",), models=SMALL),
)
"""The engine with one of its savings switched off (or a warm cache), to be held against the engine as it is."""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", nargs="*", choices=MODELS, default=MODELS)
    parser.add_argument("--method", nargs="*", choices=METHODS, default=METHODS)
    parser.add_argument("--system", nargs="*", help="names of systems; all if not given")
    parser.add_argument("--pairs", type=int, help="instead of the plan's")
    parser.add_argument("--rounds", type=int, help="instead of the plan's")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    options = parser.parse_args(arguments)
    results = WORK / "results.jsonl"
    if not options.report:
        WORK.mkdir(parents=True, exist_ok=True)
        for model in options.model:
            measure_model(model, options, results)
    print(report(read_results(results)))


def measure_model(model: str, options: argparse.Namespace, results: Path) -> None:
    """Runs all systems in turns and adds what they cost to ``results``."""
    pairs, rounds = PLANS[model]
    pairs, rounds = options.pairs or pairs, options.rounds or rounds
    folder, file = prepare_inputs(model, pairs)
    done = {
        (line["model"], line["method"], line["name"], line["pairs"], line["round"]) for line in read_results(results)
    }
    for number in range(rounds):
        for method in options.method:
            for system in (*SYSTEMS, *TRICKS):
                wanted = not options.system or system.name in options.system
                fits = method in system.methods and model in system.models and number < system.rounds
                if not wanted or not fits or (model, method, system.name, pairs, number) in done:
                    continue
                load = os.getloadavg()[0]
                line = {"model": model, "method": method, "name": system.name, "round": number, "load": load}
                line |= run_once(system, method, folder, file)
                with results.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(line) + "\n")
                print(f"{model} {method} {system.name}: {line['cpu_s'] / line['pairs']:.3f} CPU s a pair", flush=True)


def run_once(system: System, method: str, folder: Path, file: Path) -> dict[str, Any]:
    """One training run in a process of its own; raises CalledProcessError or TimeoutExpired."""
    command = [*find_program(system.program), "--method", method, "--model", str(folder), "--pairs", str(file)]
    command += ["--batch", str(BATCH), "--max-length", str(MAX_LENGTH), *system.options]
    if "--reference-cache" in system.options:
        cache = folder.parent / "reference"
        command.append(str(cache))
        if not any(cache.glob("*")):
            execute(command, system)
    command += ["--set", *(f"{name}={json.dumps(value)}" for name, value in system.settings.items())]
    return execute(command, system)


def execute(command: list[str], system: System) -> dict[str, Any]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | system.variables
    finished = subprocess.run(
        command, cwd=ROOT, env=environment, timeout=LIMIT_S, capture_output=True, text=True, check=False
    )
    if finished.returncode:
        raise RuntimeError(f"{system.name} failed:\n{finished.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return result


def find_program(program: str) -> list[str]:
    if program == "ours":
        return [sys.executable, "-m", "benchmarks.ours"]
    python = sys.executable if program == "trl" else str(make_environment(program))
    return [python, "-m", "benchmarks.peers.trl_train"]


def make_environment(version: str) -> Path:
    """The Python of an environment with that TRL, made where it is missing."""
    folder = WORK / f"trl-{version}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        requirements = ROOT / "requirements" / f"bench-trl-{version}.txt"
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", str(requirements)], check=True)
        (folder / "ready").touch()
    return python


def read_results(path: Path) -> list[dict[str, Any]]:
    return list(_read_lines(path)) if path.exists() else []


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


if __name__ == "__main__":
    main(sys.argv[1:])
