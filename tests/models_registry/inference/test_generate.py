"""Sampling jobs: reproducible, resumable, stoppable, with every bad input named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from models_registry.inference import generate
from models_registry.inference.generate import generate_responses
from models_registry.inference.sampling import derive_seed, read_sampler, sample_batch
from tests.models_registry.inference.jobs import (
    make_job,
    program_environment,
    read_cause,
    read_lines,
    read_result,
    read_status,
    run_program,
)
from tests.tiny_models import make_tiny_policy

QUESTIONS = ["What is the capital of France?", "Bread?", "Tell me how to bake bread, with yeast.", "Why?", "And you?"]
PROMPTS: list[dict[str, Any]] = [
    {"id": f"p{n}", "messages": [{"role": "user", "content": text}]} for n, text in enumerate(QUESTIONS)
]


def sampler(model: Path, **fields: Any) -> dict[str, Any]:
    usual = {"label": "a", "temperature": 1.0, "top_p": 0.95, "max_new_tokens": 12, "seed": 5}
    return {"model": str(model)} | usual | fields


def job(folder: Path, samplers: list[dict[str, Any]], prompts: list[dict[str, Any]] = PROMPTS, **fields: Any) -> Path:
    return make_job(folder, {"prompts": "prompts.jsonl", "samplers": samplers} | fields, prompts=prompts)


def texts(folder: Path) -> dict[tuple[str, int], str]:
    return {(row["prompt_id"], row["sampler"]): row["text"] for row in read_lines(folder / "responses.jsonl")}


def test_every_prompt_gets_a_response_of_every_sampler(tmp_path: Path, policy: Path, other_policy: Path) -> None:
    folder = job(tmp_path, [sampler(policy), sampler(other_policy), sampler(policy, temperature=0.3)])
    assert run_program(generate_responses, folder) == 0
    rows = read_lines(folder / "responses.jsonl")
    assert {(row["prompt_id"], row["sampler"]) for row in rows} == {(p["id"], s) for p in PROMPTS for s in range(3)}
    assert all((row["finish"] == "length" and row["tokens"] == 12) or row["finish"] == "eos" for row in rows)
    assert read_result(folder)["responses"] == 15
    status = read_status(folder)
    assert (status["state"], status["step"], status["total_steps"], status["eta_s"]) == ("finished", 15, 15, 0)


def test_the_same_job_gives_the_same_texts_whatever_the_batch_size(tmp_path: Path, policy: Path) -> None:
    outcomes = []
    for size in (1, 2, 5):
        folder = job(tmp_path / str(size), [sampler(policy), sampler(policy)], batch_size=size)
        assert run_program(generate_responses, folder) == 0
        outcomes.append(texts(folder))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_a_response_depends_neither_on_the_other_prompts_nor_on_their_order(tmp_path: Path, policy: Path) -> None:
    whole, part = job(tmp_path / "a", [sampler(policy)]), job(tmp_path / "b", [sampler(policy)], PROMPTS[:2:-1])
    for folder in (whole, part):
        assert run_program(generate_responses, folder) == 0
    assert texts(part).items() <= texts(whole).items()


def test_another_seed_gives_other_texts(tmp_path: Path, policy: Path) -> None:
    folder = job(tmp_path / "a", [sampler(policy)])
    other = job(tmp_path / "b", [sampler(policy, seed=6)])
    for each in (folder, other):
        run_program(generate_responses, each)
    assert all(texts(folder)[key] != texts(other)[key] for key in texts(folder))


def test_the_model_s_own_generation_settings_do_not_mix_in(tmp_path: Path, policy: Path) -> None:
    """The recorded temperature and top-p are all there is: no repetition penalty and no top-k of the model's."""
    opinionated = Path(shutil.copytree(policy, tmp_path / "opinionated"))
    settings = {"repetition_penalty": 5.0, "top_k": 2, "do_sample": True, "eos_token_id": 2, "min_new_tokens": 9}
    (opinionated / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
    plain, other = job(tmp_path / "a", [sampler(policy)]), job(tmp_path / "b", [sampler(opinionated)])
    for folder in (plain, other):
        assert run_program(generate_responses, folder) == 0
    assert texts(plain) == texts(other)


def test_the_recorded_seed_alone_gives_the_text_again(tmp_path: Path, policy: Path) -> None:
    import torch

    from models_registry.inference.chat import encode_prompt
    from models_registry.inference.load import load_policy, load_tokenizer

    settings = sampler(policy)
    folder = job(tmp_path, [settings])
    run_program(generate_responses, folder)
    row = read_lines(folder / "responses.jsonl")[2]
    tokenizer = load_tokenizer(policy)
    again = sample_batch(
        load_policy(policy, torch.float32),
        tokenizer,
        [encode_prompt(tokenizer, PROMPTS[2]["messages"])],
        [row["seed"]],
        read_sampler(settings, ""),
        12,
        lambda: False,
    )
    assert again is not None
    assert again[0].text == row["text"]


def test_a_torn_line_is_cut_and_the_rest_is_made_again_alike(tmp_path: Path, policy: Path) -> None:
    folder = job(tmp_path, [sampler(policy), sampler(policy, temperature=0.5)], batch_size=3)
    run_program(generate_responses, folder)
    path = folder / "responses.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]) + lines[4][:20])  # in the middle of a batch, and of a line
    (folder / "result.json").unlink()
    assert run_program(generate_responses, folder) == 0

    def without_time(text: bytes) -> list[dict[str, Any]]:
        return [{key: row[key] for key in row if key != "seconds"} for row in map(json.loads, text.splitlines())]

    assert path.read_bytes().startswith(b"".join(lines[:4]))
    assert without_time(path.read_bytes()) == without_time(whole)


def test_a_killed_job_is_taken_up_again(tmp_path: Path, policy: Path) -> None:
    prompts = [{"id": n, "messages": [{"role": "user", "content": f"Question {n}?"}]} for n in range(30)]
    samplers = [sampler(policy, max_new_tokens=40), sampler(policy, max_new_tokens=40)]
    folder = job(tmp_path / "killed", samplers, prompts, batch_size=2)
    path = folder / "responses.jsonl"
    command = [sys.executable, "-m", "models_registry.inference.generate", str(folder)]
    child = subprocess.Popen(command, env=program_environment())
    try:
        deadline = time.monotonic() + 120
        while (not path.exists() or path.stat().st_size < 500) and time.monotonic() < deadline:
            time.sleep(0.02)
        child.kill()
    finally:
        child.kill()
        child.wait()
    before = path.read_bytes()
    assert 0 < before.count(b"\n") < 60

    assert run_program(generate_responses, folder) == 0
    whole_lines = before[: before.rfind(b"\n") + 1]
    assert path.read_bytes().startswith(whole_lines)
    untouched = job(tmp_path / "untouched", samplers, prompts, batch_size=2)
    run_program(generate_responses, untouched)
    assert texts(folder) == texts(untouched)


def test_a_finished_job_samples_nothing_again(tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = job(tmp_path, [sampler(policy)])
    run_program(generate_responses, folder)
    before = (folder / "responses.jsonl").read_bytes()
    monkeypatch.setattr(generate, "load_policy", lambda *_: pytest.fail("the model was loaded again"))
    assert run_program(generate_responses, folder) == 0
    assert (folder / "responses.jsonl").read_bytes() == before


def test_a_stop_ends_it_in_the_middle_of_a_batch_and_a_resume_completes_it(
    tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = job(tmp_path / "stopped", [sampler(policy), sampler(policy)], batch_size=2)
    calls: list[int] = []

    def stop_in_third_call(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            (folder / "stop").write_text("cancelled by admin", encoding="utf-8")
        return sample_batch(*args)

    monkeypatch.setattr(generate, "sample_batch", stop_in_third_call)
    assert run_program(generate_responses, folder) == 3
    assert len(calls) == 3
    assert len(read_lines(folder / "responses.jsonl")) == 4
    assert read_status(folder)["message"] == "Stopped: cancelled by admin"
    assert not (folder / "result.json").exists()

    (folder / "stop").unlink()
    assert run_program(generate_responses, folder) == 0
    assert len(texts(folder)) == 10


def test_equal_texts_are_sampled_again_with_a_seed_of_their_own(tmp_path: Path, policy: Path) -> None:
    """One token at a low temperature often comes out the same twice."""
    many = [{"id": n, "messages": [{"role": "user", "content": f"{n}?"}]} for n in range(30)]
    pair = [sampler(policy, max_new_tokens=1, temperature=0.2), sampler(policy, max_new_tokens=1, temperature=0.2)]
    folder = job(tmp_path, pair, many)
    run_program(generate_responses, folder)
    rows = {(row["prompt_id"], row["sampler"]): row for row in read_lines(folder / "responses.jsonl")}
    shifts = [rows[n, 1]["seed"] - derive_seed(5, n, 1) for n in range(30)]
    equal = [rows[n, 0]["text"] == rows[n, 1]["text"] for n in range(30)]
    assert {0, 1} <= set(shifts) <= {0, 1, 2, 3}
    assert all(shift == 3 for shift, same in zip(shifts, equal, strict=True) if same), "given up only after three more"
    assert read_result(folder)["identical"] == sum(equal)


def test_two_greedy_responses_are_equal_and_not_sampled_again(tmp_path: Path, policy: Path) -> None:
    folder = job(tmp_path, [sampler(policy, temperature=0), sampler(policy, temperature=0, seed=9)])
    run_program(generate_responses, folder)
    found = texts(folder)
    assert all(found[prompt["id"], 0] == found[prompt["id"], 1] for prompt in PROMPTS)
    assert read_result(folder)["identical"] == len(PROMPTS)


def test_prompts_near_the_end_of_the_context(tmp_path: Path) -> None:
    """One that leaves room for three tokens gets three; one that leaves none gets a line that says so."""
    from models_registry.inference.chat import encode_prompt
    from models_registry.inference.load import load_tokenizer

    short = make_tiny_policy(tmp_path / "model", context_length=40)
    tokenizer = load_tokenizer(short)

    def prompt_of(tokens: int) -> list[dict[str, str]]:
        words = 1
        while len(encode_prompt(tokenizer, [{"role": "user", "content": "?" * words}])) < tokens:
            words += 1
        return [{"role": "user", "content": "?" * words}]

    prompts = [{"id": size, "messages": prompt_of(size)} for size in (20, 37, 40)]
    folder = job(tmp_path / "job", [sampler(short, top_p=1.0)], prompts)
    assert run_program(generate_responses, folder) == 0
    rows = {row["prompt_id"]: row for row in read_lines(folder / "responses.jsonl")}
    assert rows[20]["tokens"] == 12 or rows[20]["finish"] == "eos"
    assert rows[37]["tokens"] == 3 or rows[37]["finish"] == "eos"
    assert "40 tokens" in rows[40]["error"]
    assert "text" not in rows[40]
    assert (read_result(folder)["responses"], read_result(folder)["errors"]) == (2, 1)


def test_a_conversation_that_the_template_refuses_gets_a_line_that_says_so(tmp_path: Path) -> None:
    strict = "{% if messages[0]['role'] != 'user' %}{{ raise_exception('user first') }}{% endif %}x"
    model = make_tiny_policy(tmp_path / "model", chat_template=strict)
    prompts = [*PROMPTS[:1], {"id": "s", "messages": [{"role": "system", "content": "Be kind."}]}]
    folder = job(tmp_path / "job", [sampler(model)], prompts)
    assert run_program(generate_responses, folder) == 0
    assert "user first" in read_lines(folder / "responses.jsonl")[0]["error"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([b"{}"], "line 1, id: missing"),
        ([b'{"id": "a", "messages": []}'], "line 1, messages: empty"),
        ([b'{"id": "a", "messages": [{"role": "user"}]}'], "role and a content"),
        ([b"", b"not json"], "line 2: not a JSON object"),
        ([b'{"id": 1, "messages": [{"role": "user", "content": "x"}]}'] * 2, "line 2, id: 1 stands there twice"),
        ([b""], "holds no rows"),
        ([b"\xff\xfe"], "line 1: not a JSON object"),
    ],
)
def test_bad_prompts_are_named_by_line_and_field(tmp_path: Path, policy: Path, lines: list[bytes], words: str) -> None:
    folder = job(tmp_path, [sampler(policy)])
    (folder / "prompts.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    assert run_program(generate_responses, folder) == 1
    code, text = read_cause(folder)
    assert code == "bad_data"
    assert words in text
    assert not (folder / "responses.jsonl").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"samplers": []}, "a list of 1 to 4"),
        ({"samplers": [{}]}, "samplers[0].model"),
        ({"prompts": "../prompts.jsonl"}, "file in the job folder"),
        ({"prompts": "absent.jsonl"}, "absent.jsonl cannot be read"),
        ({"batch_size": 0}, "batch_size"),
        ({"samplers": [{"model": "/no/such/folder"}]}, "no model folder"),
    ],
)
def test_a_bad_config_is_named_by_field(tmp_path: Path, policy: Path, change: dict[str, Any], words: str) -> None:
    folder = make_job(tmp_path, {"prompts": "prompts.jsonl", "samplers": [sampler(policy)]} | change, prompts=PROMPTS)
    assert run_program(generate_responses, folder) == 1
    assert words in read_cause(folder)[1]


def test_a_reward_model_cannot_answer(tmp_path: Path, reward_model: Path) -> None:
    folder = job(tmp_path, [sampler(reward_model)])
    assert run_program(generate_responses, folder) == 1
    assert read_cause(folder)[0] == "wrong_kind"
