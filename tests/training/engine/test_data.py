"""Exported pairs: bad lines named, unusable pairs counted, cuts counted, order and batches exact."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models_registry.inference.load import load_tokenizer
from models_registry.inference.program import ProgramError
from tests.training.engine.runs import make_record, make_rows, make_separable_records, write_jsonl
from training.engine.batches import collate, plan_epoch, take_share
from training.engine.config import TrainingConfig
from training.engine.data import load_dataset, read_pairs, require_rows


@pytest.fixture
def tokenizer(tiny_policy: Path) -> Any:
    return load_tokenizer(tiny_policy)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"prompt": [', "no valid JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[1, 2]", "must be a JSON object"),
        (b'{"chosen": [], "rejected": []}', "prompt must be a list of messages"),
        (b'{"prompt": "text", "chosen": [], "rejected": []}', "prompt must be a list of messages"),
        (b'{"prompt": ["text"], "chosen": [], "rejected": []}', "prompt[0].role must be text"),
        (b'{"prompt": [], "chosen": [{"role": "assistant"}], "rejected": []}', "chosen[0].content must be text"),
        (b'{"prompt": [], "chosen": [], "rejected": [{"role": 1, "content": ""}]}', "rejected[0].role must be text"),
        (b'{"prompt": [], "chosen": [], "rejected": [], "grade": "hugely"}', "grade must be one of"),
        (b"[" * 100_000, "no valid JSON"),
    ],
)
def test_bad_line_is_named_with_number_and_reason(tmp_path: Path, line: bytes, reason: str) -> None:
    good = json.dumps(make_record("a", "b", "c")).encode()
    path = tmp_path / "train.jsonl"
    path.write_bytes(good + b"\n\n" + line + b"\n" + good + b"\n")
    with pytest.raises(ProgramError) as caught:
        read_pairs(path)
    assert caught.value.code == "bad_data"
    assert "train.jsonl: line 3: " in str(caught.value) and reason in str(caught.value)


def test_many_bad_lines_are_summed_up(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("{}\n" * 9, encoding="utf-8")
    with pytest.raises(ProgramError, match=r"line 5: .*\(and 4 more\)") as caught:
        read_pairs(path)
    assert "line 6" not in str(caught.value)


def test_unicode_line_separators_do_not_end_a_line(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", [make_record("a\u2028b", "c\x85d", "e", extra_key=1)])
    assert read_pairs(path)[0].prompt[0]["content"] == "a\u2028b"


def test_unusable_pairs_are_left_out_and_counted(tmp_path: Path, tokenizer: Any) -> None:
    records = [
        make_record("What?", "yes", "no"),
        make_record("What?", "same", "same"),
        make_record("What?", "", "no"),
        make_record("What?", "yes", "  \n"),
        {**make_record("What?", "yes", "no"), "prompt": []},
    ]
    path = write_jsonl(tmp_path / "train.jsonl", records)
    dataset = load_dataset(path, tokenizer, TrainingConfig.from_dict("dpo", {}))
    assert dataset.count() | {"sha256": ""} == {
        "read": 5,
        "used": 1,
        "truncated": {},
        "dropped": {"identical_sides": 1, "empty_side": 2, "empty_prompt": 1},
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
    assert max(row.pair.length for row in cut.rows) == 64
    dropped = load_dataset(path, tokenizer, TrainingConfig.from_dict("dpo", {**lengths, "overlong": "drop"}))
    assert dropped.count()["dropped"] == {"too_long": 3} and not dropped.cut


def test_no_usable_pair_is_told_with_reasons(tmp_path: Path, tokenizer: Any) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", [make_record("What?", "same", "same")])
    with pytest.raises(ProgramError, match="no pair to train on: 1 × identical_sides") as caught:
        require_rows(load_dataset(path, tokenizer, TrainingConfig.from_dict("dpo", {})), path)
    assert caught.value.code == "no_data"


def test_file_must_have_the_digest_of_its_version(tmp_path: Path, tokenizer: Any) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", [make_record("a", "b", "c")])
    with pytest.raises(ProgramError, match="SHA-256"):
        load_dataset(path, tokenizer, TrainingConfig.from_dict("dpo", {}), sha256="0" * 64)


@given(
    lengths=st.lists(st.integers(1, 500), min_size=1, max_size=300),
    micro_size=st.integers(1, 9),
    accumulation=st.integers(1, 4),
    epoch=st.integers(0, 3),
)
def test_each_row_comes_once_an_epoch(lengths: list[int], micro_size: int, accumulation: int, epoch: int) -> None:
    steps = plan_epoch(lengths, micro_size=micro_size, accumulation=accumulation, seed=1, epoch=epoch)
    rows = [row for step in steps for micro_batch in step for row in micro_batch]
    assert sorted(rows) == list(range(len(lengths)))
    micro_batches = -(-len(lengths) // micro_size)
    assert len(steps) == -(-micro_batches // accumulation)  # what the loop takes for the length of an epoch


def test_order_depends_on_seed_and_epoch_and_batches_are_of_similar_length() -> None:
    lengths = list(range(1, 257))
    plans = [
        plan_epoch(lengths, micro_size=4, accumulation=2, seed=seed, epoch=epoch)
        for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0))
    ]
    assert plans[0] == plans[1] and plans[0] != plans[2] and plans[0] != plans[3]
    spreads = [lengths[max(micro)] - lengths[min(micro)] for step in plans[0] for micro in step]
    assert sum(spreads) / len(spreads) < 16


@given(rows=st.integers(1, 12), world=st.integers(1, 5))
def test_processes_share_a_batch_without_gap_or_overlap(rows: int, world: int) -> None:
    seen: Counter[int] = Counter()
    for rank in range(world):
        share, weights = take_share(list(range(rows)), rank, world)
        assert len(share) == len(weights) > 0
        seen.update(row for row, weight in zip(share, weights, strict=True) if weight)
    assert seen == Counter(range(rows))


def test_masks_mark_what_is_predicted(tokenizer: Any) -> None:
    config = TrainingConfig.from_dict("orpo", {})
    rows = make_rows(tokenizer, make_separable_records(3), config)
    batch = collate(rows, pad_id=tokenizer.pad_token_id)
    for index, row in enumerate(rows):
        assert batch.completion_mask[index].sum() == len(row.pair.chosen)
        assert batch.completion_mask[3 + index].sum() == len(row.pair.rejected)
        first = int(batch.completion_mask[index].nonzero()[0])
        assert batch.input_ids[index, first + 1] == row.pair.chosen[0]
        assert batch.token_mask[index].sum() == len(row.pair.prompt) + len(row.pair.chosen) - 1
    assert torch.equal(batch.wanted, batch.completion_mask.flatten().nonzero().squeeze(1))
