"""Exported records: bad lines named, unusable ones and cuts counted; what labels, weights and margins become."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_registry.inference.load import load_tokenizer
from models_registry.inference.program import ProgramError
from tests.tiny_models import CHAT_TEMPLATE, train_tiny_tokenizer
from tests.training.engine.runs import make_record, make_row, make_single, repeatable, write_jsonl
from training.engine.config import TrainingConfig
from training.engine.data import (
    Dataset,
    Record,
    Row,
    encode_row,
    load_dataset,
    normalise_weights,
    pair_with_strangers,
    parse_record,
    read_records,
    require_rows,
)

PLAIN = TrainingConfig.from_dict("dpo", {})


@pytest.fixture
def tokenizer(tiny_policy: Path) -> Any:
    return load_tokenizer(tiny_policy)


def parse(record: dict[str, Any], method: str = "dpo", **values: Any) -> Record:
    return parse_record(json.dumps(record).encode(), TrainingConfig.from_dict(method, values))


def read_row(tokenizer: Any, record: dict[str, Any], method: str = "dpo", **values: Any) -> Row:
    return encode_row(tokenizer, parse(record, method, **values), TrainingConfig.from_dict(method, values))[0]


# Lines


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"prompt": [', "no valid JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[1, 2]", "must be a JSON object"),
        (b"[" * 100_000, "no valid JSON"),
        (b'{"votes": ' + b"1" * 5000 + b"}", "no valid JSON"),
        (b'{"chosen": [], "rejected": []}', "prompt must be a list of messages"),
        (b'{"prompt": "text", "chosen": [], "rejected": []}', "prompt must be a list of messages"),
        (b'{"prompt": ["text"], "chosen": [], "rejected": []}', "prompt[0].role must be text"),
        (b'{"prompt": [], "chosen": [{"role": "assistant"}], "rejected": []}', "chosen[0].content must be text"),
        (b'{"prompt": [], "chosen": [], "rejected": [{"role": 1, "content": ""}]}', "rejected[0].role must be text"),
        (b'{"prompt": [], "chosen": [], "completion": []}', "rejected must be a list of messages"),
        (
            b'{"prompt": [], "chosen": [{"role": "assistant", "content": "a\\ud83d"}], "rejected": []}',
            "chosen[0].content holds half a character (a lone surrogate)",
        ),
    ],
)
def test_bad_line_is_named_with_number_and_reason(tmp_path: Path, line: bytes, reason: str) -> None:
    good = json.dumps(make_record("a", "b", "c")).encode()
    path = tmp_path / "train.jsonl"
    path.write_bytes(good + b"\n\n" + line + b"\n" + good + b"\n")
    with pytest.raises(ProgramError) as caught:
        read_records(path, PLAIN)
    assert caught.value.code == "bad_data"
    assert "train.jsonl: line 3: " in str(caught.value) and reason in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"grade": "hugely"}, "grade must be one of significantly, better, slightly, negligibly, unsure or null"),
        ({"grade": ["slightly"]}, "grade must be one of"),
        ({"votes": "3"}, "votes must be a number"),
        ({"votes": True}, "votes must be a number"),
        ({"votes": 2.5}, "votes must be a whole number"),
        ({"votes": -1}, "votes must be from 0 to 1e+06"),
        ({"votes": float("nan")}, "votes must be a number"),
        ({"votes": 10**400}, "votes must be from 0 to 1e+06"),
        ({"votes": 2, "votes_for": 3}, "votes_for must be from 0 to 2"),
        ({"votes": 2, "votes_for": -1}, "votes_for must be from 0 to 2"),
        ({"votes": 2, "votes_chosen_left": 3}, "votes_chosen_left must be from 0 to 2"),
        ({"soft_label": 1.01}, "soft_label must be from 0 to 1"),
        ({"soft_label": -0.01}, "soft_label must be from 0 to 1"),
        ({"soft_label": "0.5"}, "soft_label must be a number"),
        ({"weight": -1}, "weight must be from 0 to 1e+06"),
        ({"weight": float("inf")}, "weight must be from 0 to 1e+06"),
        ({"margin": [1]}, "margin must be a number"),
        ({"margin": 101}, "margin must be from -100 to 100"),
    ],
)
def test_bad_field_is_named_with_its_reason(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(make_record("a", "b", "c") | fields, margin="file")
    assert reason in str(caught.value)


def test_margins_are_read_only_where_they_are_asked_for() -> None:
    assert parse(make_record("a", "b", "c") | {"margin": "of the export's own scale"}).margin == 0


def test_fields_may_be_missing_or_null() -> None:
    keys = ("grade", "votes", "votes_for", "votes_chosen_left", "soft_label", "weight", "margin")
    bare = {key: value for key, value in make_record("a", "b", "c").items() if key not in keys}
    record = parse(bare, margin="file")
    assert record == parse(bare | dict.fromkeys(keys), margin="file")
    assert (record.votes, record.votes_for, record.votes_chosen_left) == (0, 0, None)
    assert (record.soft_label, record.weight, record.margin, record.grade) == (None, None, 0, None)
    assert parse(bare | {"votes": 3}).votes_for == 3  # nobody is said to have voted otherwise


def test_many_bad_lines_are_summed_up(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("{}\n" * 9, encoding="utf-8")
    with pytest.raises(ProgramError, match=r"line 5: .*\(and 4 more\)") as caught:
        read_records(path, PLAIN)
    assert "line 6" not in str(caught.value)


def test_unicode_line_separators_do_not_end_a_line(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", [make_record("a\u2028b", "c\x85d", "e", extra_key=1)])
    assert read_records(path, PLAIN)[0].prompt[0]["content"] == "a\u2028b"


# Single replies


def test_single_replies_are_read_by_sft_and_kto() -> None:
    kto = parse(make_single("a", "b", label=False), "kto")
    assert (len(kto.replies), kto.labels, kto.is_pair) == (1, (False,), False)
    sft = parse({key: value for key, value in make_single("a", "b").items() if key != "label"}, "sft")
    assert sft.labels == (True,)  # SFT needs no verdict
    pair = parse(make_record("a", "b", "c"), "kto")
    assert (pair.labels, pair.is_pair) == ((True, False), True)


@pytest.mark.parametrize("label", [None, 1, "true"])
def test_kto_needs_a_verdict(label: Any) -> None:
    with pytest.raises(ValueError, match="label must be true or false"):
        parse(make_single("a", "b") | {"label": label}, "kto")


def test_other_methods_need_pairs() -> None:
    for method in ("reward", "dpo", "orpo"):
        with pytest.raises(ValueError, match="chosen must be a list of messages"):
            parse(make_single("a", "b"), method)


def test_sft_leaves_out_what_is_not_wanted(tmp_path: Path, tokenizer: Any) -> None:
    records = [make_single("a?", "yes"), make_single("a?", "no", label=False), make_record("b?", "yes", "no")]
    path = write_jsonl(tmp_path / "train.jsonl", records)
    dataset = load_dataset(path, tokenizer, TrainingConfig.from_dict("sft", {}))
    assert dataset.count()["dropped"] == {"not_wanted": 1}
    assert [len(row.replies) for row in dataset.rows] == [1, 2]
    kto = load_dataset(path, tokenizer, TrainingConfig.from_dict("kto", {}))
    assert [row.labels for row in kto.rows] == [(True,), (False,), (True, False)]


def test_a_single_reply_is_encoded_as_in_a_pair(tokenizer: Any) -> None:
    pair = read_row(tokenizer, make_record("What?", "yes", "no"), "kto")
    single = read_row(tokenizer, make_single("What?", "yes"), "kto")
    assert (single.prompt, single.replies[0]) == (pair.prompt, pair.replies[0])
    assert (single.length, single.tokens) == (len(single.prompt) + len(single.replies[0]),) * 2
    assert pair.length == len(pair.prompt) + max(map(len, pair.replies))
    assert pair.tokens == 2 * len(pair.prompt) + sum(map(len, pair.replies))


# What is left out, and what is cut


def test_unusable_pairs_are_left_out_and_counted(tmp_path: Path, tokenizer: Any) -> None:
    records = [
        make_record("What?", "yes", "no"),
        make_record("What?", "same", "same"),
        make_record("What?", "", "no"),
        make_record("What?", "yes", "  \n"),
        {**make_record("What?", "yes", "no"), "prompt": []},
    ]
    path = write_jsonl(tmp_path / "train.jsonl", records)
    dataset = load_dataset(path, tokenizer, PLAIN)
    assert dataset.count() | {"sha256": ""} == {
        "read": 5,
        "used": 1,
        "truncated": {},
        "dropped": {"identical_sides": 1, "empty_side": 2, "empty_prompt": 1},
        "boundary_moved": 0,
        "sha256": "",
    }


def test_cuts_are_counted_by_place(tmp_path: Path, tokenizer: Any) -> None:
    long = "word " * 80
    records = [
        make_record("short", "yes", "no"),
        make_record(long, "yes", "no"),
        make_record("short", long, "no"),
        make_record(long, long, "x " + long),
    ]
    path = write_jsonl(tmp_path / "train.jsonl", records)
    lengths = {"max_length": 64, "max_prompt_length": 32}
    cut = load_dataset(path, tokenizer, TrainingConfig.from_dict("dpo", lengths))
    assert cut.count()["truncated"] == {"prompt": 2, "chosen": 2, "rejected": 1, "any": 3}
    assert max(row.length for row in cut.rows) == 64
    dropped = load_dataset(path, tokenizer, TrainingConfig.from_dict("dpo", {**lengths, "overlong": "drop"}))
    assert dropped.count()["dropped"] == {"too_long": 3} and not dropped.cut


def test_cuts_of_a_single_reply_are_counted_on_its_side(tmp_path: Path, tokenizer: Any) -> None:
    long = "word " * 80
    path = write_jsonl(tmp_path / "train.jsonl", [make_single("a", long), make_single("a", long, label=False)])
    dataset = load_dataset(path, tokenizer, TrainingConfig.from_dict("kto", {"max_length": 64}))
    assert dataset.count()["truncated"] == {"chosen": 1, "rejected": 1, "any": 2}


def test_templates_that_render_finished_turns_otherwise_are_counted(tmp_path: Path) -> None:
    asked = "{{ '<|im_start|>assistant\n' }}"
    assert asked in CHAT_TEMPLATE
    records = [make_record("What?", "yes", "no"), make_record("How?", "so", "not")]
    path = write_jsonl(tmp_path / "train.jsonl", [*records, make_single("Why?", "because")])
    moved = []
    for prompt in (asked, "{{ '<|im_start|>assistant\n<think>\n' }}"):  # as templates of reasoning models have it
        tokenizer = train_tiny_tokenizer(CHAT_TEMPLATE.replace(asked, prompt))
        dataset = load_dataset(path, tokenizer, TrainingConfig.from_dict("kto", {}))
        moved.append(dataset.count()["boundary_moved"])
    assert moved == [0, 3]


def test_a_token_that_merges_with_the_reply_is_no_moved_boundary() -> None:
    rows = [make_row(boundary_moved=moved) for moved in (0, 1, 2, 9)]
    assert Dataset(rows, sha256="", read=4).count()["boundary_moved"] == 2


def test_no_usable_pair_is_told_with_reasons(tmp_path: Path, tokenizer: Any) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", [make_record("What?", "same", "same")])
    with pytest.raises(ProgramError, match=r"no pair to train on: both responses are the same \(1\)") as caught:
        require_rows(load_dataset(path, tokenizer, PLAIN), path)
    assert caught.value.code == "no_data"


def test_file_must_have_the_digest_of_its_version(tmp_path: Path, tokenizer: Any) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", [make_record("a", "b", "c")])
    with pytest.raises(ProgramError, match="SHA-256"):
        load_dataset(path, tokenizer, PLAIN, sha256="0" * 64)


# Labels, weights and margins


@pytest.mark.parametrize(
    ("choice", "fields", "expected"),
    [
        ("off", {"votes": 4, "votes_for": 3, "soft_label": 0.6}, 1),
        ("votes", {"votes": 4, "votes_for": 3}, 0.75),
        ("votes", {"votes": 0}, 1),
        ("smoothed votes", {"votes": 4, "votes_for": 3}, 4 / 6),
        ("smoothed votes", {"votes": 1, "votes_for": 1}, 2 / 3),
        ("smoothed votes", {"votes": 0}, 1),
        ("file", {"votes": 4, "votes_for": 3, "soft_label": 0.6}, 0.6),
        ("file", {"soft_label": 0}, 0),
        ("file", {}, 1),
    ],
)
def test_soft_label(tokenizer: Any, choice: str, fields: dict[str, Any], expected: float) -> None:
    row = read_row(tokenizer, make_record("a", "b", "c") | fields, soft_labels=choice)
    assert row.soft_label == pytest.approx(expected)


@pytest.mark.parametrize(
    ("choice", "fields", "expected"),
    [
        ("off", {"votes": 4, "weight": 9}, 1),
        ("votes", {"votes": 4}, 4),
        ("votes", {"votes": 0}, 1),
        ("agreement", {"votes": 4, "votes_for": 3}, 0.5),  # 2 · 3/4 − 1
        ("agreement", {"votes": 4, "votes_for": 2}, 0),
        ("agreement", {"votes": 4, "votes_for": 1}, 0),
        ("agreement", {"votes": 0}, 1),
        ("file", {"weight": 2.5}, 2.5),
        ("file", {"weight": 0}, 0),
        ("file", {}, 1),
    ],
)
def test_weight_before_it_is_scaled(tokenizer: Any, choice: str, fields: dict[str, Any], expected: float) -> None:
    assert read_row(tokenizer, make_record("a", "b", "c") | fields, pair_weights=choice).weight == expected


@given(weights=st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
@repeatable
def test_weights_have_mean_one_and_keep_their_ratios(weights: list[float]) -> None:
    scaled = [row.weight for row in normalise_weights([make_row(weight=weight) for weight in weights])]
    if sum(weights) == 0:
        assert scaled == weights
        return
    assert sum(scaled) == pytest.approx(len(weights))
    for before, after in zip(weights, scaled, strict=True):
        assert after * sum(weights) == pytest.approx(before * len(weights), rel=1e-9)


def test_weights_of_a_file_are_scaled_over_the_rows_that_are_used(tmp_path: Path, tokenizer: Any) -> None:
    records = [
        make_record("a?", "yes", "no", weight=1),
        make_record("b?", "yes", "no", weight=3),
        make_record("c?", "yes", "yes", weight=50),
    ]
    path = write_jsonl(tmp_path / "train.jsonl", records)
    dataset = load_dataset(path, tokenizer, TrainingConfig.from_dict("dpo", {"pair_weights": "file"}))
    assert [row.weight for row in dataset.rows] == [0.5, 1.5]


def test_weights_of_nothing_but_zero_are_refused(tmp_path: Path, tokenizer: Any) -> None:
    records = [make_record("a?", "yes", "no", votes=2, votes_for=1)] * 2
    path = write_jsonl(tmp_path / "train.jsonl", records)
    dataset = load_dataset(path, tokenizer, TrainingConfig.from_dict("dpo", {"pair_weights": "agreement"}))
    with pytest.raises(ProgramError, match="all weights are 0") as caught:
        require_rows(dataset, path)
    assert caught.value.code == "no_data"


@pytest.mark.parametrize(
    ("values", "grade", "expected"),
    [
        ({"margin": "small"}, "slightly", 1 / 3),
        ({"margin": "small"}, "better", 2 / 3),
        ({"margin": "large"}, "better", 2),
        ({"margin": "large"}, "significantly", 3),
        ({"margin": "none"}, "significantly", 0),
        ({"margin": "custom", "margin_map": "slightly = 0.25,significantly=-2"}, "slightly", 0.25),
        ({"margin": "custom", "margin_map": "slightly = 0.25,significantly=-2"}, "significantly", -2),
        ({"margin": "custom", "margin_map": "slightly=0.25"}, "negligibly", 0),
        ({"margin": "custom", "margin_map": "unsure=-0.5"}, "unsure", -0.5),
        ({"margin": "custom"}, None, 0),
        ({"margin": "file"}, "significantly", 0.7),
        ({"margin": "file"}, None, 0.7),
    ],
)
def test_margin(tokenizer: Any, values: dict[str, str], grade: str | None, expected: float) -> None:
    record = make_record("a", "b", "c", grade) | {"margin": 0.7}
    assert read_row(tokenizer, record, **values).margin == pytest.approx(expected)


def test_position_is_the_share_of_votes_that_saw_the_chosen_reply_on_the_left(tokenizer: Any) -> None:
    def position(**fields: Any) -> float | None:
        return read_row(tokenizer, make_record("a", "b", "c") | fields).position

    assert position(votes=4, votes_chosen_left=1) == 0.25
    assert position(votes=4, votes_chosen_left=0) == 0
    assert position(votes=4) is None
    assert position(votes=0, votes_chosen_left=0) is None  # no vote saw it anywhere


def test_length_gap_counts_characters(tokenizer: Any) -> None:
    assert read_row(tokenizer, make_record("a", "four", "sevenly")).length_gap == -3
    assert read_row(tokenizer, make_single("a", "four"), "kto").length_gap == 0


# Replies to other prompts

prompts = st.integers(0, 3)
KINDS = [(1, 1), (4, 2), (3, 0), (9, 5)]


def make_rows_of(kinds: Sequence[tuple[int, tuple[int, int]]]) -> list[Row]:
    """Rows that say in their tokens which prompt (10 × number) and which row (1000 + number) they come from."""
    rows = []
    for number, (prompt, lengths) in enumerate(kinds):
        row = make_row(*lengths)
        replies = tuple([1000 + number] * len(reply) for reply in row.replies)
        rows.append(Row(prompt=[10 * prompt], replies=replies, labels=row.labels))
    return rows


@given(kinds=st.lists(st.tuples(prompts, st.sampled_from(KINDS)), min_size=1, max_size=12), seed=st.integers(0, 9))
@repeatable
def test_strangers_answer_other_prompts(kinds: list[tuple[int, tuple[int, int]]], seed: int) -> None:
    rows = make_rows_of(kinds)
    if len({prompt for prompt, _lengths in kinds}) == 1:
        with pytest.raises(ProgramError) as caught:
            pair_with_strangers(rows, seed)
        assert caught.value.code == "no_data"
        return
    strangers = pair_with_strangers(rows, seed)
    assert strangers == pair_with_strangers(rows, seed)
    for row, replies in zip(rows, strangers, strict=True):
        assert len(replies) == len(row.replies)
        for reply in replies:
            assert 0 < len(reply) <= max(map(len, row.replies))
            assert rows[reply[0] - 1000].prompt != row.prompt


def test_strangers_depend_on_the_seed_and_differ_between_rows() -> None:
    rows = make_rows_of([(number, (2, 2)) for number in range(20)])
    first, second = pair_with_strangers(rows, 0), pair_with_strangers(rows, 1)
    assert first != second
    assert len({replies[0][0] for replies in first}) == 20  # every reply is used once


def test_strangers_of_a_large_file_with_one_frequent_prompt_are_found_in_time() -> None:
    """Linear: looking along the row of equal prompts for each would take hours."""
    rows = make_rows_of([(0, (1, 1))] * 60_000 + [(1, (1, 1))])
    assert all(replies[0][0] == 61_000 for replies in pair_with_strangers(rows, 0)[:-1])
