"""What the methods learn from real pairs: trains on HH-RLHF and prints what the held-out pairs say.

    HH_PAIRS=helpful-base.train.jsonl.gz HH_TEST=helpful-base.test.jsonl.gz \
      python -m benchmarks.learning reward --model SmolLM2-135M-Instruct --set learning_rate=2e-4 --set lora_r=16
    ... python -m benchmarks.learning curves --model stories15M     # SFT, ORPO and DPO beside one another

``reward`` sets the accuracy beside that of choosing the longer reply. ``curves`` shows the log-probabilities of chosen
and rejected replies as training goes on: SFT alone lifts both (ORPO, arXiv 2403.07691, figure 3).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.pairs import WORK, InputMissingError, copy_model, find_model, read_hh_pairs

COMMON = {"precision": "bf16", "overlong": "truncate", "batch_size": 16, "gradient_accumulation": 1, "warmup_steps": 5}
REWARD = {"margin": "none", "max_length": 224, "max_prompt_length": 100, "eval_steps": 0, "logging_steps": 5}
CURVES: dict[str, dict[str, Any]] = {
    "sft": {"learning_rate": 1e-4},
    "orpo": {"learning_rate": 1e-4},
    "dpo": {"learning_rate": 2e-5},
}
CURVE = {"max_length": 256, "eval_steps": 20, "logging_steps": 5, "save_steps": 0}
HELD_OUT_FOR_CURVES = 200


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("study", choices=("reward", "curves"))
    parser.add_argument("--model", default="SmolLM2-135M-Instruct")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="settings of the runs")
    options = parser.parse_args(arguments)
    values = dict(pair.split("=", 1) for pair in options.set)
    try:
        model, train, test = prepare(options.model, HELD_OUT_FOR_CURVES if options.study == "curves" else None)
    except InputMissingError as missing:
        sys.exit(str(missing))
    if options.study == "reward":
        describe_reward(train_model("reward", model, train, test, {**COMMON, **REWARD, **values}))
        return
    for method, own in CURVES.items():
        describe_curve(method, train_model(method, model, train, test, {**COMMON, **CURVE, **own, **values}))


def prepare(name: str, held_out: int | None) -> tuple[Path, Path, Path]:
    """The model folder and the files of training and held-out pairs. Raises InputMissingError."""
    folder = WORK / "learning" / name
    if not (folder / "model" / "config.json").exists():
        copy_model(find_model(name), folder / "model")
    files = []
    for variable, limit in (("HH_PAIRS", None), ("HH_TEST", held_out)):
        if variable not in os.environ:
            raise InputMissingError(f"Set {variable} to a file of HH-RLHF.")
        pairs = list(read_hh_pairs(Path(os.environ[variable])))[:limit]
        file = folder / f"{variable.lower()}-{len(pairs)}.jsonl"
        file.write_text("".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs), encoding="utf-8")
        files.append(file)
    return folder / "model", files[0], files[1]


def train_model(method: str, model: Path, train: Path, test: Path, values: dict[str, Any]) -> Path:
    """Runs the engine in a folder of its own (resuming what an earlier call left there) and returns the folder."""
    folder = WORK / "learning" / model.parent.name / method
    folder.mkdir(parents=True, exist_ok=True)
    spec = {"method": method, "model": str(model), "train_file": str(train), "eval_file": str(test), "values": values}
    (folder / "config.json").write_text(json.dumps(spec), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "training.engine.run", str(folder)], check=True, stdout=sys.stderr)
    return folder


def describe_reward(folder: Path) -> None:
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    held_out = result["eval"]
    print(f"{result['pairs']} training pairs, {result['seconds']:.0f} s")
    for name, figures in (("reward model", held_out), ("longer reply", held_out["length_baseline"])):
        low, high = figures["interval"]
        print(f"{name}: {figures['accuracy']:.3f} (95 %: {low:.3f} to {high:.3f}), {figures['pairs']} pairs")


def describe_curve(method: str, folder: Path) -> None:
    """Mean log-probability of held-out replies by step (sums for DPO, means a token for the others)."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    print(f"\n{method}\n{'step':>5} {'logps/chosen':>13} {'logps/rejected':>15} {'gap':>8} {'accuracy':>9}")
    for line in lines:
        if "eval_logps/chosen" in line:
            chosen, rejected = line["eval_logps/chosen"], line["eval_logps/rejected"]
            accuracy = line["eval_rewards/accuracies"]
            print(f"{line['step']:>5} {chosen:>13.3f} {rejected:>15.3f} {chosen - rejected:>8.3f} {accuracy:>9.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
