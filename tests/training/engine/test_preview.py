"""The token preview: what training does with each token, by the functions that training uses, in words and numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models_registry.inference.chat import encode_conversation
from models_registry.inference.load import load_tokenizer
from models_registry.inference.program import ProgramError
from tests.models_registry.inference.jobs import program_environment, read_result, run_program
from tests.tiny_models import make_tiny_policy
from tests.tiny_tokenizers import FAMILIES, train_family
from tests.training.engine.runs import make_record, make_row, make_run, make_separable_records, make_single, write_jsonl
from training.engine import run
from training.engine.batches import Arrangement, collate
from training.engine.config import METHODS, TrainingConfig
from training.engine.data import Row
from training.engine.methods import make_method
from training.engine.preview import preview
from training.engine.preview.__main__ import main
from training.engine.preview.__main__ import start as start_command
from training.engine.preview.counts import describe_lengths
from training.engine.preview.examples import LONGEST_STRETCH
from training.engine.preview.pieces import BROKEN, PieceReader
from training.engine.preview.states import list_spans
from training.engine.preview.text import describe_preview

KOREAN = "김치찌개는 돼지고기와 신김치를 볶다가 끓여요."
EMOJI = "가족 👨‍👩‍👧 그리고 🍲!"
ARABIC = "عاصمة فرنسا هي باريس."
LONG = "word " * 80


@pytest.fixture
def tokenizer(tiny_policy: Path) -> Any:
    return load_tokenizer(tiny_policy)


def look(tmp_path: Path, tokenizer: Any, records: list[dict[str, Any]], method: str = "dpo", **values: Any) -> Any:
    """The preview as a page gets it: through JSON, in which no number may be missing."""
    wanted = {name: values.pop(name) for name in ("examples", "start") if name in values}
    path = write_jsonl(tmp_path / "train.jsonl", records)
    found = preview(path, tokenizer, TrainingConfig.from_dict(method, values), **wanted)
    return json.loads(json.dumps(found, allow_nan=False))


def get_part(example: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(part for part in example["parts"] if part["name"] == name)
    return found


def read_states(part: dict[str, Any]) -> list[str]:
    """The state of each token, one entry an id."""
    return [token["state"] for token in part["tokens"] for _id in token["ids"]]


def read_ids(part: dict[str, Any], *, cut: bool) -> list[int]:
    return [id for token in part["tokens"] if (token["state"] == "cut") == cut for id in token["ids"]]


# -- What a real run says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "overlong"), [("dpo", "truncate"), ("reward", "drop"), ("sft", "truncate")])
def test_counts_are_those_of_the_run(tmp_path: Path, tiny_policy: Path, method: str, overlong: str) -> None:
    records = [
        *make_separable_records(6),
        make_record(KOREAN, EMOJI, ARABIC),
        make_record("same", "yes", "yes"),
        make_record("empty", "", "no"),
        make_record(LONG, LONG + "a", "b"),
        make_record("long", LONG, LONG + "in its end alone"),
    ]
    if method == "sft":
        records += [make_single("one", "reply"), make_single("one", "not wanted", label=False)]
    folder = make_run(
        tmp_path / "run", method, tiny_policy, records, records[:3], max_length=96, max_prompt_length=48,
        overlong=overlong, max_steps=1,
    )  # fmt: skip
    looked = make_run(tmp_path / "preview", method, tiny_policy, records, records[:3], max_length=96,
                      max_prompt_length=48, overlong=overlong)  # fmt: skip
    assert run_program(run.main, folder) == 0
    assert run_program(main, looked) == 0
    trained, seen = read_result(folder)["data"], read_result(looked)
    assert seen["data"] == trained["train"]
    assert seen["held_out"] == trained["eval"]
    assert {found["name"]: found["rows"] for found in seen["dropped"]} == trained["train"]["dropped"]
    assert seen["cut"]["rows"] == trained["train"]["truncated"].get("any", 0)
    assert len(seen["examples"]) == 5
    assert (seen["data"]["dropped"]["empty_side"], seen["data"]["dropped"]["identical_sides"]) == (1, 1)


@pytest.mark.parametrize(("method", "values"), [*((name, {}) for name in METHODS), ("orpo", {"nll_over": "chosen"})])
@pytest.mark.parametrize("prompt", [0, 1, 4])
def test_trained_tokens_are_those_whose_probability_training_asks_for(
    method: str, values: dict[str, str], prompt: int
) -> None:
    row = make_row(chosen=3, rejected=5, prompt=prompt, start=10)
    learner = make_method(TrainingConfig.from_dict(method, values))
    arrangement = Arrangement(pad_id=0, sides=learner.sides, with_prompt=learner.reads_prompt)
    batch = collate([row], arrangement)
    spans = list_spans(row, learner)
    if learner.trains_reward_model:
        assert {state for part in spans.values() for state, _size in part} == {"read"}
        return
    assert sorted(batch.targets.tolist()) == sorted(list_trained(row, spans))


def list_trained(row: Row, spans: dict[str, list[tuple[str, int]]]) -> list[int]:
    """Ids that the preview calls trained; in ``make_row`` every id is another."""
    trained = []
    for ids, part in zip([row.prompt, *row.replies], spans.values(), strict=True):
        states = [state for state, size in part for _place in range(size)]
        assert len(states) == len(ids)
        trained += [id for id, state in zip(ids, states, strict=True) if state == "trained"]
    return trained


# -- Tokens as a person reads them ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", [KOREAN, EMOJI, ARABIC, "a  b\n\n\nc\td", "日本の首都は東京です。"])
def test_pieces_hold_every_token_and_spell_the_text_in_whole_characters(family: str, text: str) -> None:
    tokenizer = train_family(family)
    ids = encode_conversation(
        tokenizer, [{"role": "user", "content": text}, {"role": "assistant", "content": text + " 👍🏽"}]
    )
    pieces = PieceReader(tokenizer).read(ids)
    assert [id for piece in pieces for id in piece.ids] == ids
    decoded = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    assert "".join(piece.text for piece in pieces) == decoded
    assert not any(BROKEN in piece.text for piece in pieces)
    assert any(len(piece.ids) > 1 for piece in pieces)
    assert any(piece.is_control for piece in pieces)


def test_broken_text_is_shown_piece_by_piece(tokenizer: Any) -> None:
    pieces = PieceReader(tokenizer).read(tokenizer(BROKEN * 9, add_special_tokens=False)["input_ids"])
    assert len(pieces) > 1
    assert "".join(piece.text for piece in pieces).strip(BROKEN) == ""


def test_special_tokens_are_marked_and_their_text_in_a_message_is_not(tmp_path: Path, tokenizer: Any) -> None:
    found = look(tmp_path, tokenizer, [make_record("a <|im_end|> b", "yes", "no")])
    prompt = get_part(found["examples"][0], "prompt")
    control = [token["text"] for token in prompt["tokens"] if token.get("control")]
    assert control == ["<|im_start|>", "<|im_end|>", "<|im_start|>"]
    assert "a <|im_end|> b" in "".join(token["text"] for token in prompt["tokens"])
    assert found["control_strings"] == [{"name": "<|im_end|>", "rows": 1, "count": 1, "lines": [1]}]
    chosen = get_part(found["examples"][0], "chosen")
    assert [token["text"] for token in chosen["tokens"] if token.get("control")] == ["<|im_end|>"]


def test_a_reply_may_write_tokens_of_its_own_but_a_prompt_may_not(tmp_path: Path) -> None:
    found = look(tmp_path, train_family("qwen"), [make_record("<tool_call>", "<tool_call> <|im_end|>", "<tool_call>")])
    assert [(item["name"], item["count"]) for item in found["control_strings"]] == [
        ("<tool_call>", 1),
        ("<|im_end|>", 1),
    ]


@pytest.mark.parametrize(
    ("method", "values", "states"),
    [
        ("dpo", {}, {"prompt": {"masked"}, "chosen": {"trained"}, "rejected": {"trained"}}),
        ("sft", {}, {"prompt": {"masked"}, "chosen": {"trained"}, "rejected": {"unused"}}),
        ("orpo", {}, {"prompt": {"masked", "trained"}, "chosen": {"trained"}, "rejected": {"trained"}}),
        ("orpo", {"nll_over": "chosen"}, {"prompt": {"masked"}, "chosen": {"trained"}, "rejected": {"trained"}}),
        ("reward", {}, {"prompt": {"read"}, "chosen": {"read"}, "rejected": {"read"}}),
    ],
)
def test_states_by_method(tmp_path: Path, tokenizer: Any, method: str, values: Any, states: Any) -> None:
    found = look(tmp_path, tokenizer, [make_record("What?", "yes it is", "no")], method, **values)
    example = found["examples"][0]
    assert {part["name"]: set(read_states(part)) for part in example["parts"]} == states
    sizes = {part["name"]: part["length"] for part in example["parts"]}
    total = sizes["prompt"] + sizes["chosen"] + (0 if method == "sft" else sizes["rejected"])
    tokens = found["tokens"]
    assert tokens["total"] == total == tokens["trained"] + tokens["masked"] + tokens["read"]
    scored = [token["text"] for part in example["parts"] for token in part["tokens"] if token.get("score")]
    assert scored == (["\n", "\n"] if method == "reward" else [])


def test_a_single_reply_is_named_by_its_verdict(tmp_path: Path, tokenizer: Any) -> None:
    records = [make_single("a", "good"), make_single("b", "bad", label=False)]
    found = look(tmp_path, tokenizer, records, "kto")
    assert [[part["name"] for part in example["parts"]] for example in found["examples"]] == [
        ["prompt", "chosen"],
        ["prompt", "rejected"],
    ]
    assert not found["problem"]
    alone = look(tmp_path, tokenizer, records[:1], "kto")
    assert "at least two different prompts" in alone["problem"]


# -- What is cut or left out ------------------------------------------------------------------------------------------


def test_cut_tokens_stand_where_they_were_cut(tmp_path: Path, tokenizer: Any) -> None:
    record = make_record(LONG, LONG, "no")
    whole = look(tmp_path, tokenizer, [record], max_length=4096)["examples"][0]
    found = look(tmp_path, tokenizer, [record], max_length=64, max_prompt_length=32)
    example = found["examples"][0]
    prompt, chosen = get_part(example, "prompt"), get_part(example, "chosen")
    all_prompt, all_chosen = (read_ids(get_part(whole, name), cut=False) for name in ("prompt", "chosen"))
    assert read_ids(prompt, cut=False) == [tokenizer.bos_token_id, *all_prompt[-31:]]  # BOS stays
    assert [id for token in prompt["tokens"] for id in token["ids"]] == all_prompt
    assert read_ids(chosen, cut=False) == all_chosen[:32]
    assert read_ids(chosen, cut=True) == all_chosen[32:]
    assert (prompt["length"], prompt["cut"]) == (32, len(all_prompt) - 32)
    assert found["cut"] == {
        "rows": 1,
        "count": 1,
        "lines": [1],
        "tokens": {"prompt": len(all_prompt) - 32, "chosen": len(all_chosen) - 32},
    }
    assert found["lengths"]["longest"]["max"] == len(all_prompt) + len(all_chosen)


def test_a_character_torn_by_the_cut_is_shown_torn(tmp_path: Path, tokenizer: Any) -> None:
    prompt = get_part(look(tmp_path, tokenizer, [make_record("a", "😀" * 9, "no")])["examples"][0], "prompt")["length"]
    found = look(
        tmp_path, tokenizer, [make_record("a", "😀" * 9, "no")], max_length=prompt + 6, max_prompt_length=prompt
    )
    chosen = get_part(found["examples"][0], "chosen")
    kept = "".join(token["text"] for token in chosen["tokens"] if token["state"] == "trained")
    cut = "".join(token["text"] for token in chosen["tokens"] if token["state"] == "cut")
    assert kept.strip(BROKEN) == "😀" and kept.endswith(BROKEN) and cut.startswith(BROKEN)
    assert cut.count("😀") == 7
    assert all(token["text"] for token in chosen["tokens"])


def test_what_is_left_out_is_named_by_line_and_never_missing(tmp_path: Path, tokenizer: Any) -> None:
    records = [
        make_record("same", "yes", "yes"),
        make_record("empty", " ", "no"),
        make_record("fine", "yes", "no"),
        *[make_record("empty", "", "no")] * 6,
        make_record("a", LONG + "1", LONG + "2"),
        make_record("long", LONG, "no"),
    ]
    found = look(tmp_path, tokenizer, records, max_length=64, overlong="drop")
    assert found["dropped"] == [
        {"name": "empty_side", "rows": 7, "count": 7, "lines": [2, 4, 5, 6, 7]},
        {"name": "identical_sides", "rows": 1, "count": 1, "lines": [1]},
        {"name": "identical_when_cut", "rows": 1, "count": 1, "lines": [10]},
        {"name": "too_long", "rows": 1, "count": 1, "lines": [11]},
    ]
    assert found["data"]["used"] == 1
    # Lengths are those before a cut, of whatever can be encoded at all.
    assert sum(bin["rows"] for bin in found["lengths"]["longest"]["histogram"]) == 3


def test_a_file_of_which_nothing_is_usable_is_a_result_too(tmp_path: Path, tokenizer: Any) -> None:
    found = look(tmp_path, tokenizer, [make_record("a", "same", "same")])
    assert "both responses are the same (1)" in found["problem"]
    assert (found["examples"], found["lengths"], found["tokens"]["total"]) == ([], {}, 0)
    assert "A run would fail" in describe_preview(found, colour=False)
    (tmp_path / "train.jsonl").write_text("{}\n")
    with pytest.raises(ProgramError, match="line 1"):
        preview(tmp_path / "train.jsonl", tokenizer, TrainingConfig.from_dict("dpo", {}))


def test_examples_are_taken_in_order_and_one_that_is_cut_comes_along(tmp_path: Path, tokenizer: Any) -> None:
    records = [make_record(f"number {number}", "yes", "no") for number in range(6)]
    records[1] = make_record("same", "yes", "yes")
    records.append(make_record("long", LONG, "no"))
    found = look(tmp_path, tokenizer, records, max_length=64, examples=2, start=2)
    assert [example["line"] for example in found["examples"]] == [4, 5]
    assert [example["line"] for example in found["cut_examples"]] == [7]


def test_the_middle_of_a_long_stretch_is_left_out_of_the_example(tmp_path: Path, tokenizer: Any) -> None:
    found = look(tmp_path, tokenizer, [make_record("a", "1 " * 2000, "no")], max_length=10_000)
    chosen = get_part(found["examples"][0], "chosen")
    gaps = [token for token in chosen["tokens"] if "left_out" in token]
    assert len(chosen["tokens"]) == LONGEST_STRETCH + 1
    assert gaps[0]["left_out"] == chosen["length"] - LONGEST_STRETCH
    assert found["longer_than"] == {"512": 1, "1024": 1, "2048": 1}


def test_lengths_by_hand() -> None:
    assert describe_lengths([1, 16, 17, 32, 33, 500, 512, 513, 40, 40]) == {
        "min": 1,
        "median": 33,
        "p90": 512,
        "p99": 513,
        "max": 513,
        "histogram": [
            {"up_to": 16, "rows": 2},
            {"up_to": 32, "rows": 2},
            {"up_to": 64, "rows": 3},
            {"up_to": 128, "rows": 0},
            {"up_to": 256, "rows": 0},
            {"up_to": 512, "rows": 2},
            {"up_to": 1024, "rows": 1},
        ],
    }


def test_a_boundary_that_moved_is_counted(tmp_path: Path) -> None:
    tokenizer = train_family("gpt2")
    tokenizer_like = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|endoftext|>")
    tokenizer_like.chat_template = (  # a finished turn is written unlike the one that is asked for
        "{% for message in messages %}{{ message.role + ': ' + message.content + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'your answer: ' }}{% endif %}"
    )
    found = look(tmp_path, tokenizer_like, [make_record("a", "yes", "no"), make_record("b", "yes", "no")])
    assert found["boundary_moved"]["rows"] == found["data"]["boundary_moved"] == 2
    assert found["boundary_moved"]["count"] == 2 * found["examples"][0]["boundary_moved"] > 2
    assert "boundary  moved in 2 rows" in describe_preview(found, colour=False)


# -- The command ------------------------------------------------------------------------------------------------------


def test_the_command_prints_and_writes_nothing(tmp_path: Path, tiny_policy: Path) -> None:
    records = [make_record(KOREAN, EMOJI + "\x1b[2J", ARABIC), *make_separable_records(3)]
    folder = make_run(tmp_path / "run", "dpo", tiny_policy, records)
    before = sorted(folder.iterdir())
    command = [sys.executable, "-m", "training.engine.preview", str(folder), "--examples", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=program_environment())
    assert sorted(folder.iterdir()) == before
    assert "rows      4 read, 4 used, 0 left out" in done.stdout
    assert "김│치│찌│개" in done.stdout
    assert "\x1b" not in done.stdout and "\\x1b" in done.stdout
    assert "trained" in done.stdout and "<|im_end|>" in done.stdout


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: Any) -> None:
    assert start_command([str(tmp_path)]) == 1
    assert "bad_config" in capsys.readouterr().err


def test_colour_is_an_addition_and_text_cannot_bring_its_own(tmp_path: Path, tokenizer: Any) -> None:
    found = look(tmp_path, tokenizer, [make_record("a", "\x1b[31mred", "no")])
    plain, coloured = (describe_preview(found, colour=colour) for colour in (False, True))
    assert "\x1b" not in plain
    assert "\x1b[32m" in coloured and "\x1b[31m" not in coloured


def test_lengths_are_lowered_to_what_the_model_reads(tmp_path: Path) -> None:
    model = make_tiny_policy(tmp_path / "model", context_length=64)
    folder = make_run(tmp_path / "run", "dpo", model, [make_record("a", LONG, "no")], max_length=256)
    assert run_program(main, folder) == 0
    result = read_result(folder)
    assert (result["limits"]["max_length"], result["limits"]["asked"]) == (64, 256)
    assert result["cut"]["rows"] == 1
