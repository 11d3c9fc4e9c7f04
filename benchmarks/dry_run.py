"""What the launch page estimates against what real runs take: steps, peak memory, disk and time, on a CPU.

    python -m benchmarks.dry_run --model tiny --model /models/stories15M --steps 10

Each run is started as a worker starts it, and watched as a worker watches it: memory of all its
processes, disk of its folder. Pairs are the first of the sample project's. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.pairs import SAMPLE, read_hh_pairs  # sets Django up

# isort: split
from models_registry.inference.model_files import read_model_facts
from models_registry.machines import describe_machine
from models_registry.models import ModelVersion
from models_registry.usage import measure_folder, measure_processes
from training.dry_run.device import Device
from training.dry_run.estimate import estimate_disk
from training.dry_run.lengths import read_counted
from training.dry_run.memory import Setup, estimate_memory
from training.dry_run.shape import find_shape
from training.dry_run.timing import START_S, Speed, choose_speed, count_work
from training.engine.config import TrainingConfig
from training.engine.preview import preview_run
from training.engine.sizes import count_steps
from training.engine.spec import RunSpec
from training.models import Layout, Run
from training.services import build_launch_command, describe_surroundings

METHODS = ("sft", "dpo", "reward")
LOOK_S = 0.2
MIB = 2**20


@dataclass
class Measured:
    steps: int
    memory: int
    disk: int
    seconds: float
    """Of the whole program."""
    run: Run


@dataclass
class Case:
    model: ModelVersion
    folder: Path
    """Of the model."""
    method: str
    values: dict[str, Any]

    def __str__(self) -> str:
        kind = f"LoRA {self.values['lora_r']}" if self.values["lora_r"] else "full"
        return f"{self.model.name} | {self.method} | {kind} | {self.values['batch_size']}"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", action="append", required=True, help="a model folder, or tiny")
    parser.add_argument("--method", action="append", choices=METHODS)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rows", type=int, default=4, help="pairs of a step; batches of 1 and of so many are tried")
    parser.add_argument("--precision", default="fp32")
    options = parser.parse_args(arguments)
    print(
        "| model | method | weights | batch | steps | memory, MiB | off | disk, MiB | off | seconds | by runs before |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    done: list[Run] = []
    with tempfile.TemporaryDirectory() as scratch:
        pairs = write_pairs(Path(scratch) / "pairs.jsonl", options.steps * options.rows)
        for name in options.model:
            folder = find_folder(name, Path(scratch))
            model = ModelVersion(pk=len(done) + 1, name=folder.name, facts=read_model_facts(folder))
            for method, lora_r, batch in product(options.method or METHODS, (0, 8), (1, options.rows)):
                values = {
                    "batch_size": batch,
                    "gradient_accumulation": options.rows // batch,
                    "lora_r": lora_r,
                    "max_length": 256,
                    "save_steps": max(1, options.steps // 2),
                    "eval_steps": 0,
                    "precision": options.precision,
                }
                case = Case(model, folder, method, values)
                setup = describe_setup(case, pairs)
                measured = measure(case, pairs, len(done) + 1)
                print(describe(case, setup, measured, done), flush=True)
                done.append(measured.run)


def find_folder(name: str, scratch: Path) -> Path:
    if name != "tiny":
        return Path(name).resolve()
    from tests.tiny_models import make_tiny_policy

    return make_tiny_policy(scratch / "tiny")


def write_pairs(path: Path, count: int) -> Path:
    """The first pairs of the sample whose replies differ within any limit used here."""
    lines: list[str] = []
    for pair in read_hh_pairs(SAMPLE):
        first, second = (pair[side][0]["content"].strip() for side in ("chosen", "rejected"))
        words = sum(len(message["content"].split()) for message in pair["prompt"])
        if first[:40] != second[:40] and words < 60 and first and second:
            lines.append(json.dumps(pair))
        if len(lines) == count:
            break
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_spec(case: Case, pairs: Path, folder: Path) -> None:
    spec = {"method": case.method, "model": str(case.folder), "train_file": str(pairs), "values": case.values}
    (folder / "config.json").write_text(json.dumps(spec), encoding="utf-8")


def describe_setup(case: Case, pairs: Path) -> Setup:
    """As for the launch page where there is a token preview of these settings."""
    machine = describe_machine()
    device = Device("cpu", machine.processor, machine.memory, machine.cores)
    with tempfile.TemporaryDirectory() as name:
        write_spec(case, pairs, Path(name))
        counted = preview_run(RunSpec.read(Path(name)), examples=0)
    lengths = read_counted(counted, counted["limits"])
    if lengths is None:
        raise SystemExit(f"{case}: no pair is usable.")
    return Setup(find_shape(case.model), TrainingConfig.from_dict(case.method, case.values), lengths, device)


def measure(case: Case, pairs: Path, number: int) -> Measured:
    """Trains it; raises RuntimeError with the end of its log where it fails."""
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryFile() as log:
        folder = Path(name)
        write_spec(case, pairs, folder)
        started = time.monotonic()
        command = [sys.executable, *build_launch_command(), str(folder)]
        environment = os.environ | describe_surroundings(Layout())
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        memory = disk = 0
        while process.poll() is None:
            found = measure_processes(process.pid)
            memory = max(memory, found[1] if found else 0)
            disk = max(disk, measure_folder(folder))
            time.sleep(LOOK_S)
        seconds = time.monotonic() - started
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{case} failed:\n{log.read()[-2000:].decode(errors='replace')}")
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    result["hardware"] = describe_machine().device_name
    run = Run(pk=number, name=str(case), method=case.method, config=result["settings"], result=result)
    run.base_model = case.model
    return Measured(result["steps"], memory, disk, seconds, run)


def describe(case: Case, setup: Setup, measured: Measured, done: list[Run]) -> str:
    """One row: estimates beside what was measured."""
    config = setup.config
    _per_epoch, steps = count_steps(
        setup.lengths.rows,
        micro_size=config.batch_size,
        accumulation=config.gradient_accumulation,
        epochs=config.epochs,
    )
    memory = estimate_memory(setup, config.batch_size)
    disk = estimate_disk(setup, steps, setup.device)
    work = count_work(setup, rows_seen=setup.lengths.rows, steps=steps, recomputes=memory.recomputes)
    others = [run for run in done if (run.method, run.base_model.name) != (case.method, case.model.name)]
    stated, scaled = choose_speed([], setup), choose_speed(others, setup)

    def tell(speed: Speed) -> str:
        return f"{START_S + (work.training + work.reference) / speed.flops:.0f}"

    same = "exact" if steps == measured.steps else f"{steps} for {measured.steps}"
    figures = [
        str(case),
        same,
        *compare(memory.total, measured.memory),
        *compare(disk.peak, measured.disk),
        f"{tell(stated)} / {measured.seconds:.0f}",
        tell(scaled) if scaled.run else "–",
    ]
    flops = work.training / measured.run.result["seconds"] / 1e9
    parts = {name: round(size / MIB) for name, size in memory.parts.items()}
    print(f"{case}: {flops:.1f} G operations a second, {parts}", file=sys.stderr, flush=True)
    return f"| {' | '.join(figures)} |"


def compare(estimated: int, measured: int) -> tuple[str, str]:
    return f"{estimated / MIB:,.0f} / {measured / MIB:,.0f}", f"{100 * (estimated / measured - 1):+.0f} %"


if __name__ == "__main__":
    main(sys.argv[1:])
