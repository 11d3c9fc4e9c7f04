"""Scoring jobs: the same score whatever the batch, the padding or an interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from models_registry.inference import score
from models_registry.inference.chat import encode_conversation
from models_registry.inference.load import load_reward_model, load_tokenizer
from models_registry.inference.score import score_responses, score_sequences
from tests.models_registry.inference.jobs import make_job, read_cause, read_lines, read_result, read_status, run_program

RESPONSES = ["Paris.", "I am sorry, I do not know. " * 6, "You need flour, water, salt and yeast.", "", "No " * 30]
ROWS: list[dict[str, Any]] = [
    {"id": f"r{n}", "messages": [{"role": "user", "content": "What is bread?"}], "response": text}
    for n, text in enumerate(RESPONSES)
]


def job(folder: Path, model: Path, rows: list[dict[str, Any]] = ROWS, **fields: Any) -> Path:
    return make_job(folder, {"model": str(model), "rows": "rows.jsonl"} | fields, rows=rows)


def scores(folder: Path) -> dict[str, float]:
    return {row["id"]: row["score"] for row in read_lines(folder / "scores.jsonl")}


def test_every_row_gets_the_score_of_its_last_token(tmp_path: Path, reward_model: Path) -> None:
    folder = job(tmp_path, reward_model)
    assert run_program(score_responses, folder) == 0
    model, tokenizer = load_reward_model(reward_model, torch.float32), load_tokenizer(reward_model)
    for row in ROWS:
        reply = {"role": "assistant", "content": row["response"]}
        ids = torch.tensor([encode_conversation(tokenizer, [*row["messages"], reply])])
        with torch.inference_mode():
            hidden = model.base_model(input_ids=ids).last_hidden_state[0, -1]
            expected = model.get_submodule("score")(hidden).item()
        assert scores(folder)[row["id"]] == pytest.approx(expected, abs=1e-5)
    assert read_result(folder)["scores"] == len(ROWS)
    assert (read_status(folder)["step"], read_status(folder)["total_steps"]) == (5, 5)


def test_scores_do_not_depend_on_the_batch(tmp_path: Path, reward_model: Path) -> None:
    outcomes = []
    for size in (1, 2, 5):
        folder = job(tmp_path / str(size), reward_model, batch_size=size)
        assert run_program(score_responses, folder) == 0
        outcomes.append(scores(folder))
    assert max(outcomes[0].values()) - min(outcomes[0].values()) > 0.01
    for outcome in outcomes[1:]:
        assert outcome == pytest.approx(outcomes[0], abs=1e-5)


def test_sequences_that_end_in_the_padding_token_keep_their_end(reward_model: Path) -> None:
    model = load_reward_model(reward_model, torch.float32)
    pad = model.config.get_text_config().pad_token_id
    short, long = [5, 6, pad], [7, 8, 9, 10, 11, 0]
    together = score_sequences(model, [short, long])
    alone = score_sequences(model, [short]) + score_sequences(model, [long])
    assert together == pytest.approx(alone, abs=1e-5)
    assert together[0] != pytest.approx(score_sequences(model, [[5, 6]])[0], abs=1e-4)
    assert model.config.get_text_config().pad_token_id == pad


@pytest.mark.parametrize("lost", [1, 3], ids=["without its end", "torn"])
def test_a_torn_line_is_cut_and_only_the_rest_is_scored(
    tmp_path: Path, reward_model: Path, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    folder = job(tmp_path, reward_model, batch_size=2)
    run_program(score_responses, folder)
    whole = scores(folder)
    path = folder / "scores.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][:-lost])
    scored: list[int] = []

    def count_and_score(model: Any, rows: list[list[int]]) -> list[float]:
        scored.append(len(rows))
        return score_sequences(model, rows)

    monkeypatch.setattr(score, "score_sequences", count_and_score)
    assert run_program(score_responses, folder) == 0
    assert sum(scored) == 2
    assert scores(folder) == pytest.approx(whole, abs=1e-5)


def test_a_stop_leaves_the_rows_that_are_scored(
    tmp_path: Path, reward_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = job(tmp_path, reward_model, batch_size=2)
    real = score.score_sequences

    def stop_after_first(*args: Any) -> list[float]:
        (folder / "stop").write_text("", encoding="utf-8")
        return real(*args)

    monkeypatch.setattr(score, "score_sequences", stop_after_first)
    assert run_program(score_responses, folder) == 3
    assert len(scores(folder)) == 2
    assert not (folder / "result.json").exists()


def test_a_conversation_longer_than_the_context_gets_a_line_that_says_so(tmp_path: Path, reward_model: Path) -> None:
    rows = [*ROWS[:1], {"id": "long", "messages": ROWS[0]["messages"], "response": "no " * 600}]
    folder = job(tmp_path, reward_model, rows)
    assert run_program(score_responses, folder) == 0
    lines = {row["id"]: row for row in read_lines(folder / "scores.jsonl")}
    assert "the model's context 512" in lines["long"]["error"]
    assert "score" not in lines["long"]
    assert (read_result(folder)["scores"], read_result(folder)["errors"]) == (1, 1)


def test_damaged_weights_fail_in_words(tmp_path: Path, reward_model: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    broken.mkdir()
    for path in reward_model.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    weights = load_file(broken / "model.safetensors")
    weights["score.weight"][:] = torch.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    folder = job(tmp_path / "job", broken)
    assert run_program(score_responses, folder) == 1
    assert read_cause(folder)[0] == "nan_score"
    assert not (folder / "scores.jsonl").exists()


def test_a_language_model_gives_no_scores(tmp_path: Path, policy: Path) -> None:
    folder = job(tmp_path, policy)
    assert run_program(score_responses, folder) == 1
    assert read_cause(folder)[0] == "wrong_kind"


def test_a_row_without_a_response_is_named(tmp_path: Path, reward_model: Path) -> None:
    folder = job(tmp_path, reward_model)
    (folder / "rows.jsonl").write_text(json.dumps(ROWS[0] | {"response": None}), encoding="utf-8")
    assert run_program(score_responses, folder) == 1
    assert "line 1, response" in read_cause(folder)[1]
