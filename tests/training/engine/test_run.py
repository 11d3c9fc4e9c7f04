"""Whole runs in this process: what a run leaves behind, what does not change its numbers, and how it fails in words."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers.models.llama.modeling_llama import LlamaMLP

from models_registry.inference.load import check_model_folder, load_tokenizer
from models_registry.inference.program import EXIT_STOPPED
from tests.models_registry.inference.jobs import read_cause, read_lines, read_result, read_status, run_program
from tests.training.engine.runs import (
    make_record,
    make_rows,
    make_run,
    make_separable_records,
    read_weights,
    stop_after,
)
from training.engine import run, trainee
from training.engine.batches import Batch, collate
from training.engine.config import METHODS, TrainingConfig
from training.engine.data import hash_file
from training.engine.logps import PolicyScorer
from training.engine.run import main

TRAIN, EVAL = make_separable_records(24), make_separable_records(10, seed=1)
LORA = ("reward", "dpo", "kto", "orpo")
LEARNING: dict[str, dict[str, Any]] = {"arpo": {"nll_weight": 10.0}}
"""ARPO's penalty grows with any gap, also a wrong one: a model that knows nothing yet is led by the other term."""
AVERAGED = ("sft", "orpo", "simpo")
"""Methods that speak of log-probabilities by token."""


def copy_model(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize(("method", "lora_r"), [(method, 0) for method in METHODS] + [(method, 4) for method in LORA])
def test_run_learns_and_leaves_a_plain_model(method: str, lora_r: int, tiny_policy: Path, tmp_path: Path) -> None:
    settings = {"lora_r": lora_r, "learning_rate": 1e-2 if lora_r else 3e-3, **LEARNING.get(method, {})}
    settings |= {"model_name": "tiny", "licence": "apache-2.0"}
    folder = make_run(tmp_path, method, tiny_policy, TRAIN, EVAL, epochs=4, eval_steps=4, **settings)
    assert run_program(main, folder) == 0

    result, metrics = read_result(folder), read_lines(folder / "metrics.jsonl")
    trained = [line for line in metrics if "loss" in line]
    evaluated = [line for line in metrics if "eval_loss" in line]
    assert [line["step"] for line in trained] == list(range(1, 13))
    assert [line["step"] for line in evaluated] == [0, 4, 8, 12]
    assert {"epoch", "grad_norm", "learning_rate", "num_tokens"} <= trained[0].keys()
    if method == "orpo":  # β = 0.1
        loss = trained[0]["nll_loss"] - 0.1 * trained[0]["log_odds_ratio"]
        assert trained[0]["loss"] == pytest.approx(loss, abs=1e-4)
    assert (result["method"], result["steps"], result["pairs"]) == (method, 12, 4 * 24)
    assert result["eval"]["pairs"] == 10 and result["eval"]["accuracy"] >= 0.9
    assert result["eval"]["loss"] == evaluated[-1]["eval_loss"] < evaluated[0]["eval_loss"]
    if method != "sft":
        assert result["train"]["metrics"]["rewards/accuracies"] > 0.8
        assert trained[-1]["rewards/margins"] > trained[0]["rewards/margins"]
    low, high = result["eval"]["interval"]
    assert 0 <= low < result["eval"]["accuracy"] <= high <= 1
    assert sum(grade["pairs"] for grade in result["eval"]["by_grade"].values()) == 10
    status = read_status(folder)
    assert (status["state"], status["step"], status["total_steps"], status["eta_s"]) == ("finished", 12, 12, 0)

    facts = check_model_folder(folder / "model")
    assert facts.kind == ("reward" if method == "reward" else "policy") and facts.has_chat_template
    assert {path.suffix for path in (folder / "model").iterdir()} <= {".safetensors", ".json", ".jinja", ".md"}
    assert not list((folder / "model").glob("adapter*"))
    key = "eval_rewards/chosen" if method == "reward" else "eval_logps/chosen"
    assert ask_saved_model(folder / "model", result["settings"], method) == pytest.approx(
        result["eval"]["metrics"][key], abs=1e-3
    )
    check_card(folder, result)


def ask_saved_model(folder: Path, settings: dict[str, Any], method: str) -> float:
    """What the saved model says by itself, one reply at a time: mean score or log-probability of the chosen sides."""
    rows = make_rows(load_tokenizer(folder), EVAL, TrainingConfig.from_dict(method, settings))
    kind = AutoModelForSequenceClassification if method == "reward" else AutoModelForCausalLM
    model = kind.from_pretrained(folder, use_safetensors=True)
    said = []
    for row in rows:
        ids = torch.tensor([row.prompt + row.replies[0]])
        with torch.no_grad():
            logits = model(ids).logits
        if method == "reward":
            said.append(float(logits))
            continue
        logps = logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[len(row.prompt) - 1 :]
        said.append(float(logps.mean() if method in AVERAGED else logps.sum()))
    return sum(said) / len(said)


def check_card(folder: Path, result: dict[str, Any]) -> None:
    card = (folder / "model" / "README.md").read_text(encoding="utf-8")
    front = card.split("---")[1]
    task = "text-classification" if result["method"] == "reward" else "text-generation"
    assert f"pipeline_tag: {task}" in front and 'license: "apache-2.0"' in front and result["method"] in front
    assert "Base: tiny" in card and hash_file(folder / "train.jsonl") in card
    assert f"Chosen reply preferred: {result['eval']['accuracy']:.3f}" in card
    for name, value in result["settings"].items():
        assert f"| {name} | {value} |" in card


def test_loss_of_the_first_step_is_known(tiny_policy: Path, tmp_path: Path) -> None:
    """Before the first update DPO's policy is its reference, whatever the batches were padded to."""
    folder = make_run(tmp_path, "dpo", tiny_policy, TRAIN, EVAL, max_steps=1)
    assert run_program(main, folder) == 0
    first = read_lines(folder / "metrics.jsonl")
    assert first[0]["eval_loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert first[1]["loss"] == pytest.approx(math.log(2), abs=1e-5)


LONG_PROMPTS = make_separable_records(8, seed=3)
for record in LONG_PROMPTS:
    record["prompt"][0]["content"] = "Please answer. " * 6 + record["prompt"][0]["content"]
SPREAD: dict[str, dict[str, Any]] = {
    "plain": {"layout": "plain"},
    "packed": {"packing": True},
    "accumulated": {"batch_size": 2, "gradient_accumulation": 4},
    "accumulated unevenly": {"batch_size": 3, "gradient_accumulation": 3},
    "in parts": {"tokens_per_pass": 150},
}


@pytest.mark.parametrize("method", METHODS)
def test_the_way_rows_are_spread_does_not_change_a_run(
    method: str, tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three steps over the same eight rows: in one batch that shares prompts, or otherwise.

    Loss, gradient and KTO's estimate of the KL divergence are of the whole step, not averages of batch averages.
    """
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 8, "gradient_accumulation": 1, "learning_rate": 1e-3}
    if method == "kto":  # every reply is pushed up, so that the estimate is not cut off at 0
        settings["undesirable_weight"] = 0.0
    positions: list[int] = []

    def count_positions(*args: Any, **options: Any) -> Batch:
        batch = collate(*args, **options)
        positions.append(batch.input_ids.numel())
        return batch

    monkeypatch.setattr("training.engine.passes.collate", count_positions)

    def train(name: str, **change: Any) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor], int]:
        positions.clear()
        folder = make_run(tmp_path / name, method, tiny_policy, LONG_PROMPTS, LONG_PROMPTS[:3], **settings | change)
        assert run_program(main, folder) == 0, name
        return read_lines(folder / "metrics.jsonl"), read_weights(folder), sum(positions)

    lines, weights, width = train("together")
    before = max(positions[2:])
    base = load_file(tiny_policy / "model.safetensors")
    moved = sum(float((weights[name] - base[name]).square().sum()) for name in weights.keys() & base.keys())
    assert [line["step"] for line in lines] == [0, 1, 2, 3, 3]
    if method == "kto":
        assert lines[2]["kl"] > 0.5
    for name, change in SPREAD.items():
        if (method == "sft" and name == "plain") or (method not in ("kto", "orpo", "sft") and "unevenly" in name):
            continue
        other_lines, other_weights, other_width = train(name, **change)
        for line, other in zip(lines, other_lines, strict=True):
            assert other == pytest.approx(line, rel=1e-3, abs=1e-4), name
        apart = sum(float((weights[key] - other_weights[key]).square().sum()) for key in weights)
        assert apart < 1e-4 * moved, name
        if name == "plain":
            assert width < 0.8 * other_width
        if name == "in parts":
            assert max(positions[2:]) <= 150 < before, "but for the two that find out what the model allows"


@pytest.mark.parametrize(("method", "lora_r"), [("dpo", 0), ("reward", 4)])
def test_gradient_checkpointing_changes_nothing_but_memory(
    method: str, lora_r: int, tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """auto takes it where memory is short, and says so."""
    calls: list[None] = []
    forward = LlamaMLP.forward

    def count_calls(self: LlamaMLP, hidden: torch.Tensor) -> Any:
        calls.append(None)
        return forward(self, hidden)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(LlamaMLP, "forward", count_calls)

    def train(setting: str, free_memory: int) -> tuple[Path, int]:
        monkeypatch.setattr(run, "measure_free_memory", lambda _device: free_memory)
        calls.clear()
        folder = tmp_path / f"{setting}-{free_memory}"
        make_run(folder, method, tiny_policy, TRAIN[:8], max_steps=2, lora_r=lora_r, gradient_checkpointing=setting)
        assert run_program(main, folder) == 0
        return folder, len(calls)

    plain, plain_calls = train("off", 0)
    for setting, free_memory, switched_on in (("on", 2**40, True), ("auto", 2**40, False), ("auto", 10**6, True)):
        folder, other_calls = train(setting, free_memory)
        assert (other_calls > plain_calls) == switched_on
        noted = any("computed twice" in note for note in read_result(folder)["notes"])
        assert noted == (switched_on and setting == "auto")
        assert read_lines(folder / "metrics.jsonl") == read_lines(plain / "metrics.jsonl")
        torch.testing.assert_close(read_weights(folder), read_weights(plain), atol=0, rtol=0)


def test_limit_of_a_container_counts_as_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainee, "CGROUP", tmp_path)
    unlimited = trainee.measure_free_memory(torch.device("cpu"))
    for name, text in {"max": "5000\n", "current": "4000\n", "stat": "anon 3000\ninactive_file 900\n"}.items():
        (tmp_path / f"memory.{name}").write_text(text, encoding="utf-8")
    assert trainee.measure_free_memory(torch.device("cpu")) == 1900 < unlimited
    (tmp_path / "memory.max").write_text("max\n", encoding="utf-8")
    assert trainee.measure_free_memory(torch.device("cpu")) > 1900


def test_precision_is_settled_once_and_told(tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine prefers may change while a run is interrupted; its arithmetic does not."""
    ends = {}
    for setting, prefers in (("bf16", None), ("auto", True), ("auto", False)):
        if prefers is not None:
            monkeypatch.setattr(run, "prefers_bf16", lambda _device, answer=prefers: answer)
        folder = make_run(tmp_path / f"{setting}{prefers}", "dpo", tiny_policy, TRAIN, epochs=1, precision=setting)
        assert run_program(stop_after(2), folder) == EXIT_STOPPED
        (folder / "stop").unlink()
        monkeypatch.setattr(run, "prefers_bf16", lambda _device: pytest.fail("it is settled"))
        assert run_program(main, folder) == 0
        ends[setting, prefers] = read_result(folder)["settings"]["precision"], read_weights(folder)
    assert [precision for precision, _weights in ends.values()] == ["bf16", "bf16", "fp32"]
    (_, said), (_, found), (_, other) = ends.values()
    assert all(torch.equal(said[name], found[name]) for name in said)
    assert not all(torch.equal(said[name], other[name]) for name in said)


def test_margin_reaches_the_loss(tiny_policy: Path, tmp_path: Path) -> None:
    losses = {}
    for margin in ("none", "large"):
        records = make_separable_records(8)
        for record in records:
            record["grade"] = "significantly"
        folder = make_run(tmp_path / margin, "reward", tiny_policy, records, max_steps=1, margin=margin)
        assert run_program(main, folder) == 0
        losses[margin] = read_lines(folder / "metrics.jsonl")[0]["loss"]
    assert losses["large"] > losses["none"] + 1


def test_lengths_are_lowered_to_what_the_model_reads(tiny_policy: Path, tmp_path: Path) -> None:
    folder = make_run(tmp_path, "dpo", tiny_policy, TRAIN, max_steps=1, max_length=4096)
    assert run_program(main, folder) == 0
    result = read_result(folder)
    assert result["settings"]["max_length"] == 512
    assert any("max_length lowered from 4096" in note for note in result["notes"])


def test_unusable_held_out_pairs_do_not_stop_the_run(tiny_policy: Path, tmp_path: Path) -> None:
    folder = make_run(tmp_path, "dpo", tiny_policy, TRAIN, [make_record("a", "same", "same")], max_steps=1)
    assert run_program(main, folder) == 0
    result = read_result(folder)
    assert result["eval"] is None and result["data"]["eval"]["dropped"] == {"identical_sides": 1}


def test_held_out_pairs_of_one_prompt_do_not_stop_kto(tiny_policy: Path, tmp_path: Path) -> None:
    """It estimates a KL divergence on replies to other prompts, which are wanting there."""
    folder = make_run(tmp_path, "kto", tiny_policy, TRAIN, EVAL[:1], max_steps=1)
    assert run_program(main, folder) == 0
    result = read_result(folder)
    assert result["eval"] is None and any("the same prompt" in note for note in result["notes"])


def test_length_baseline_stands_beside_the_accuracy(tiny_policy: Path, tmp_path: Path) -> None:
    records = [make_record("q", "longer reply", "short"), make_record("q", "short", "longer reply")]
    evaluation = [make_record("q", "longer reply", "short"), make_record("q", "same a", "same b")]
    folder = make_run(tmp_path, "reward", tiny_policy, records, evaluation, max_steps=1)
    assert run_program(main, folder) == 0
    result = read_result(folder)
    assert result["train"]["length_baseline"]["accuracy"] == 0.5
    assert result["eval"]["length_baseline"]["accuracy"] == 0.75  # a tie counts half


def test_infinite_loss_is_told_with_its_step(tiny_policy: Path, tmp_path: Path) -> None:
    broken = copy_model(tiny_policy, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["lm_head.weight"][5] = float("inf")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    folder = make_run(tmp_path / "run", "orpo", broken, TRAIN, logging_steps=2)
    assert run_program(main, folder) == 1
    code, text = read_cause(folder)
    assert code == "nan_loss" and "in step 1." in text and "base model" in text and "learning rate" not in text
    assert not list((folder / "checkpoints").glob("*")) and not (folder / "model").exists()


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ({"model": "/nowhere"}, "no_model", "/nowhere"),
        ({"values": {"beta": -1}}, "bad_config", "beta: must be at least"),
        ({"train_file": "absent.jsonl"}, "bad_data", "absent.jsonl"),
        ({"train_sha256": "0" * 64}, "bad_data", "SHA-256"),
    ],
)
def test_bad_run_fails_in_words(
    change: dict[str, Any], code: str, word: str, tiny_policy: Path, tmp_path: Path
) -> None:
    folder = make_run(tmp_path, "dpo", tiny_policy, TRAIN)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
    assert run_program(main, folder) == 1
    assert read_cause(folder)[0] == code and word in read_cause(folder)[1]
    assert read_status(folder)["state"] == "failed"


def test_bad_line_fails_the_run_with_its_number(tiny_policy: Path, tmp_path: Path) -> None:
    folder = make_run(tmp_path, "dpo", tiny_policy, TRAIN)
    with (folder / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"prompt": []}\n')
    assert run_program(main, folder) == 1
    assert read_cause(folder) == ("bad_data", "train.jsonl: line 25: chosen must be a list of messages")


def test_full_disk_is_foreseen(tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("training.engine.trainee.shutil.disk_usage", lambda _: usage(10**9, 10**9, 10**6))
    folder = make_run(tmp_path, "dpo", tiny_policy, TRAIN)
    assert run_program(main, folder) == 1
    assert read_cause(folder)[0] == "disk_full"


def test_exhausted_memory_is_told(tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(self: PolicyScorer, batch: Any) -> torch.Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    folder = make_run(tmp_path, "dpo", tiny_policy, TRAIN)
    monkeypatch.setattr(PolicyScorer, "forward", run_out)
    assert run_program(main, folder) == 1
    assert read_cause(folder)[0] == "out_of_memory"
