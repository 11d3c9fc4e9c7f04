"""Whole runs in this process: what a run leaves behind, and how it fails in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models_registry.inference.load import check_model_folder, load_policy, load_reward_model, load_tokenizer
from tests.models_registry.inference.jobs import read_cause, read_lines, read_result, read_status, run_program
from tests.tiny_models import make_tiny_policy
from tests.training.engine.runs import make_record, make_rows, make_run, make_separable_records, read_weights
from training.engine.batches import collate
from training.engine.config import TrainingConfig
from training.engine.logps import PolicyScorer, RewardScorer
from training.engine.methods import make_method
from training.engine.run import main

TRAIN, EVAL = make_separable_records(24), make_separable_records(10, seed=1)


def copy_model(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize("lora_r", [0, 4])
@pytest.mark.parametrize("method", ["reward", "dpo", "orpo"])
def test_run_learns_and_leaves_a_plain_model(method: str, lora_r: int, tiny_policy: Path, tmp_path: Path) -> None:
    values: dict[str, Any] = {"lora_r": lora_r, "learning_rate": 1e-2 if lora_r else 3e-3, "model_name": "tiny"}
    run = make_run(tmp_path, method, tiny_policy, TRAIN, EVAL, epochs=4, eval_steps=4, **values)
    assert run_program(main, run) == 0

    result, metrics = read_result(run), read_lines(run / "metrics.jsonl")
    trained = [line for line in metrics if "loss" in line]
    evaluated = [line for line in metrics if "eval_loss" in line]
    assert [line["step"] for line in trained] == list(range(1, 13))
    assert [line["step"] for line in evaluated] == [0, 4, 8, 12]
    assert {"epoch", "grad_norm", "learning_rate", "rewards/chosen", "rewards/rejected"} <= trained[0].keys()
    if method == "orpo":  # β = 0.1
        assert trained[0]["loss"] == pytest.approx(
            trained[0]["nll_loss"] - 0.1 * trained[0]["log_odds_ratio"], abs=1e-4
        )
    assert result["steps"] == 12 and result["pairs"] == 4 * 24 and result["seconds"] > 0
    assert result["train"]["metrics"]["rewards/accuracies"] > 0.8
    assert result["eval"]["accuracy"] > 0.7 and result["eval"]["pairs"] == 10
    assert result["eval"]["loss"] < evaluated[0]["eval_loss"]
    low, high = result["eval"]["interval"]
    assert 0 <= low < result["eval"]["accuracy"] <= high <= 1
    assert sum(grade["pairs"] for grade in result["eval"]["by_grade"].values()) == 10
    status = read_status(run)
    assert (status["state"], status["step"], status["total_steps"], status["eta_s"]) == ("finished", 12, 12, 0)

    facts = check_model_folder(run / "model")
    assert facts.kind == ("reward" if method == "reward" else "policy") and facts.has_chat_template
    assert not list((run / "model").glob("adapter*"))
    assert "tiny" in (run / "model" / "README.md").read_text(encoding="utf-8")
    assert evaluate_folder(run / "model", result["settings"], method) == pytest.approx(
        result["eval"]["metrics"]["eval_logps/chosen" if method != "reward" else "eval_rewards/chosen"], abs=1e-3
    )


def evaluate_folder(folder: Path, settings: dict[str, Any], method_name: str) -> float:
    """What the saved model itself says about the held-out pairs: mean log-probability or score of the chosen side."""
    config = TrainingConfig.from_dict(method_name, settings)
    tokenizer = load_tokenizer(folder)
    method = make_method(config)
    rows = make_rows(tokenizer, EVAL, config)
    zeros = ([0.0] * len(rows), [0.0] * len(rows))
    batch = collate(rows, pad_id=tokenizer.pad_token_id, prompt_of_chosen=method.reads_prompt, reference_logps=zeros)
    with torch.no_grad():
        scorer = (
            RewardScorer(load_reward_model(folder, torch.float32))
            if method.trains_reward_model
            else PolicyScorer(load_policy(folder, torch.float32))
        )
        terms = method.compute_terms(scorer(batch), batch)
    return float(terms.logged["rewards/chosen" if method.trains_reward_model else "logps/chosen"].mean())


def test_loss_of_the_first_step_is_known(tiny_policy: Path, tmp_path: Path) -> None:
    """Before the first update DPO's policy is its reference, whatever the batches were padded to."""
    run = make_run(tmp_path, "dpo", tiny_policy, TRAIN, EVAL, max_steps=1)
    assert run_program(main, run) == 0
    first = read_lines(run / "metrics.jsonl")
    assert first[0]["eval_loss"] == pytest.approx(0.693147, abs=1e-5)
    assert first[1]["loss"] == pytest.approx(0.693147, abs=1e-5)


@pytest.mark.parametrize("method", ["reward", "dpo", "orpo"])
def test_accumulated_steps_equal_one_large_batch(method: str, tiny_policy: Path, tmp_path: Path) -> None:
    """The loss is divided by the pairs and tokens of the whole step, not averaged by micro-batch."""
    weights = []
    for name, batch_size, accumulation in (("large", 12, 1), ("small", 5, 3)):
        run = make_run(
            tmp_path / name, method, tiny_policy, TRAIN[:12], max_steps=1, warmup_ratio=0, learning_rate=1e-3,
            batch_size=batch_size, gradient_accumulation=accumulation, max_grad_norm=0,
        )  # fmt: skip
        assert run_program(main, run) == 0
        metrics = read_lines(run / "metrics.jsonl")[-1]
        weights.append((metrics["loss"], metrics["grad_norm"]))
    assert weights[0] == pytest.approx(weights[1], rel=1e-5)


def test_reference_is_computed_once_and_reused(tiny_policy: Path, tmp_path: Path, capfd: Any) -> None:
    run = make_run(tmp_path, "dpo", tiny_policy, TRAIN, max_steps=1)
    assert run_program(main, run) == 0
    before = (run / "reference.safetensors").stat().st_mtime_ns
    assert run_program(main, run) == 0
    assert (run / "reference.safetensors").stat().st_mtime_ns == before
    assert "Reference log-probabilities taken from" in capfd.readouterr().out

    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    config["values"] |= {"max_length": 40, "max_prompt_length": 24}
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert run_program(main, run) == 1  # the checkpoint is of other settings, but the reference was made anew before
    assert (run / "reference.safetensors").stat().st_mtime_ns != before
    assert read_cause(run)[0] == "bad_checkpoint" and "max_length" in read_cause(run)[1]


def test_margin_reaches_the_loss(tiny_policy: Path, tmp_path: Path) -> None:
    losses = {}
    for margin in ("none", "large"):
        records = make_separable_records(8)
        for record in records:
            record["grade"] = "significantly"
        run = make_run(tmp_path / margin, "reward", tiny_policy, records, max_steps=1, margin=margin)
        assert run_program(main, run) == 0
        losses[margin] = read_lines(run / "metrics.jsonl")[0]["loss"]
    assert losses["large"] > losses["none"] + 1


def test_lengths_are_lowered_to_what_the_model_reads(tiny_policy: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, "dpo", tiny_policy, TRAIN, max_steps=1, max_length=4096)
    assert run_program(main, run) == 0
    result = read_result(run)
    assert result["settings"]["max_length"] == 512
    assert any("max_length lowered from 4096" in note for note in result["notes"])


def test_unusable_held_out_pairs_do_not_stop_the_run(tiny_policy: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, "dpo", tiny_policy, TRAIN, [make_record("a", "same", "same")], max_steps=1)
    assert run_program(main, run) == 0
    result = read_result(run)
    assert result["eval"] is None and result["data"]["eval"]["dropped"] == {"identical_sides": 1}


def test_length_baseline_stands_beside_the_accuracy(tiny_policy: Path, tmp_path: Path) -> None:
    records = [make_record("q", "longer reply", "short"), make_record("q", "short", "longer reply")]
    evaluation = [make_record("q", "longer reply", "short"), make_record("q", "same a", "same b")]
    run = make_run(tmp_path, "reward", tiny_policy, records, evaluation, max_steps=1)
    assert run_program(main, run) == 0
    result = read_result(run)
    assert result["train"]["length_baseline"]["accuracy"] == 0.5
    assert result["eval"]["length_baseline"]["accuracy"] == 0.75  # a tie counts half


def test_infinite_loss_is_told_with_its_step(tiny_policy: Path, tmp_path: Path) -> None:
    broken = copy_model(tiny_policy, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["lm_head.weight"][5] = float("inf")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    run = make_run(tmp_path / "run", "orpo", broken, TRAIN, logging_steps=2)
    assert run_program(main, run) == 1
    code, text = read_cause(run)
    assert code == "nan_loss" and "in step 1" in text and "learning rate" in text
    assert not list((run / "checkpoints").glob("*")) and not (run / "model").exists()


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
    run = make_run(tmp_path, "dpo", tiny_policy, TRAIN)
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    (run / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
    assert run_program(main, run) == 1
    assert read_cause(run)[0] == code and word in read_cause(run)[1]
    assert read_status(run)["state"] == "failed"


def test_bad_line_fails_the_run_with_its_number(tiny_policy: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, "dpo", tiny_policy, TRAIN)
    with (run / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"prompt": []}\n')
    assert run_program(main, run) == 1
    assert read_cause(run) == ("bad_data", "train.jsonl: line 25: chosen must be a list of messages")


def test_full_disk_is_foreseen(tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("training.engine.trainee.shutil.disk_usage", lambda _: usage(10**9, 10**9, 10**6))
    run = make_run(tmp_path, "dpo", tiny_policy, TRAIN)
    assert run_program(main, run) == 1
    assert read_cause(run)[0] == "disk_full"


def test_exhausted_memory_is_told(tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(self: PolicyScorer, batch: Any) -> torch.Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    run = make_run(tmp_path, "dpo", tiny_policy, TRAIN)
    monkeypatch.setattr(PolicyScorer, "forward", run_out)
    assert run_program(main, run) == 1
    assert read_cause(run)[0] == "out_of_memory"


def test_gradient_checkpointing_changes_nothing_but_memory(tmp_path: Path) -> None:
    base = make_tiny_policy(tmp_path / "base")
    weights = []
    for switched_on in (False, True):
        run = make_run(
            tmp_path / str(switched_on), "dpo", base, TRAIN[:8], max_steps=2, gradient_checkpointing=switched_on
        )
        assert run_program(main, run) == 0
        weights.append(read_weights(run))
    torch.testing.assert_close(weights[0], weights[1], atol=1e-6, rtol=1e-5)
