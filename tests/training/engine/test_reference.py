"""The reference's log-probabilities are computed once for all runs that need the same ones, and for no other."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from models_registry.inference.load import load_tokenizer
from tests.models_registry.inference.jobs import read_lines, read_result, run_program
from tests.tiny_models import make_tiny_policy
from tests.training.engine.runs import make_record, make_row, make_run, make_separable_records, read_weights
from training.engine import reference
from training.engine.batches import Batch
from training.engine.checkpoint import write_tensors
from training.engine.logps import PolicyScorer
from training.engine.run import main

TRAIN = make_separable_records(12)
BATCHES = 3
"""Of the reference's pass over the rows."""
TAKEN = "were taken from an earlier run"
Train = Callable[..., Path]


class Passes:
    """Counts what the model is asked before training."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        forward = PolicyScorer.forward

        def count(scorer: PolicyScorer, batch: Batch) -> torch.Tensor:
            self.count += not torch.is_grad_enabled()
            return forward(scorer, batch)

        monkeypatch.setattr(PolicyScorer, "forward", count)

    def read(self) -> int:
        count, self.count = self.count, 0
        return count


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    return Passes(monkeypatch)


@pytest.fixture
def train(tiny_policy: Path, tmp_path: Path) -> Train:
    """Runs one step over data that nothing is held out of, with the cache that all runs share."""

    def run(name: str, method: str = "dpo", **values: Any) -> Path:
        settings = {"model": tiny_policy, "train": TRAIN, "max_steps": 1, "reference_cache": "../cache", **values}
        folder = make_run(tmp_path / name, method, **settings)
        assert run_program(main, folder) == 0
        return folder

    return run


def was_taken(folder: Path) -> bool:
    return any(TAKEN in note for note in read_result(folder)["notes"])


@pytest.fixture
def probes(tiny_policy: Path, train: Train, passes: Passes) -> int:
    """Passes that a method without a reference takes: they probe the architecture."""
    train("cpo", "cpo")
    return passes.read()


def test_another_run_on_the_same_data_and_model_asks_the_model_nothing(
    train: Train, passes: Passes, probes: int, tmp_path: Path
) -> None:
    first = train("first")
    assert passes.read() == probes + BATCHES and not was_taken(first)
    second = train("second")
    assert passes.read() == probes and was_taken(second)
    assert read_lines(second / "metrics.jsonl") == read_lines(first / "metrics.jsonl")
    weights = read_weights(first)
    assert all(torch.equal(weights[name], weight) for name, weight in read_weights(second).items())

    for name, method, change in (
        ("beta", "dpo", {"beta": 0.5}),
        ("seed", "dpo", {"seed": 7, "learning_rate": 1e-5, "batch_size": 2, "layout": "plain"}),
        ("adapters", "dpo", {"lora_r": 4}),
        ("method", "ipo", {}),
        ("elsewhere", "dpo", {"model": make_tiny_policy(tmp_path / "same model", seed=0)}),
    ):
        passes.read()
        assert was_taken(train(name, method, **change)), name
        assert passes.read() == probes
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert read_lines(tmp_path / "beta" / "metrics.jsonl")[0]["loss"] == pytest.approx(0.693147, abs=1e-5)


def test_each_run_has_a_cache_of_its_own_where_none_is_named(train: Train) -> None:
    folder = train("run", reference_cache=None)
    (file,) = (folder / "reference").iterdir()
    assert file.suffix == ".safetensors"
    assert run_program(main, folder) == 0
    assert was_taken(folder)


def change_template(folder: Path) -> Path:
    """The same weights behind another chat template."""
    tokenizer = load_tokenizer(make_tiny_policy(folder))
    tokenizer.chat_template = str(tokenizer.chat_template).replace("assistant", "helper")
    tokenizer.save_pretrained(folder)
    return folder


CHANGES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "longest sequence": lambda _: {"max_length": 200},
    "longest prompt": lambda _: {"max_prompt_length": 100},
    "what is too long": lambda _: {"overlong": "drop"},
    "precision": lambda _: {"precision": "bf16"},
    "data": lambda _: {"train": TRAIN[:-1]},
    "held-out data": lambda _: {"evaluation": TRAIN[:2]},
    "weights": lambda folder: {"model": make_tiny_policy(folder, seed=1)},
    "chat template": lambda folder: {"model": change_template(folder)},
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_the_numbers_depend_on_is_in_the_key(name: str, train: Train, tmp_path: Path) -> None:
    train("first")
    change = CHANGES[name](tmp_path / "other")
    assert not was_taken(train("second", **change))
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert was_taken(train("third", **change))


def test_strangers_of_kto_are_drawn_by_its_seed(train: Train, tmp_path: Path) -> None:
    assert not was_taken(train("dpo"))
    assert not was_taken(train("first", "kto", seed=1))
    assert was_taken(train("again", "kto", seed=1, beta=0.3))
    assert not was_taken(train("other", "kto", seed=2))
    assert len(list((tmp_path / "cache").iterdir())) == 3


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble(path: Path) -> None:
    path.write_bytes(b"\xff" * 64)


def name_other_rows(path: Path) -> None:
    tensors = {"train": torch.zeros(3, 2)}
    write_tensors(path, tensors, {reference.DIGEST: reference._hash_tensors(tensors)})


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, empty, garble, name_other_rows])
def test_damaged_file_is_computed_anew(damage: Callable[[Path], None], train: Train, tmp_path: Path) -> None:
    first = train("first")
    (path,) = (tmp_path / "cache").iterdir()
    whole = path.read_bytes()
    damage(path)
    second = train("second")
    assert not was_taken(second)
    assert path.read_bytes() == whole
    assert read_lines(second / "metrics.jsonl") == read_lines(first / "metrics.jsonl")


def test_cache_that_cannot_be_written_costs_the_run_nothing(train: Train, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder", encoding="utf-8")
    assert any("could not be kept" in note for note in read_result(train("run"))["notes"])


def test_least_recently_used_files_are_forgotten(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "KEPT_FILES", 2)
    train("a", max_length=200)
    (oldest,) = (tmp_path / "cache").iterdir()
    train("b", max_length=201)
    age(tmp_path / "cache")
    assert was_taken(train("a again", max_length=200))
    train("c", max_length=202)
    assert len(list((tmp_path / "cache").iterdir())) == 2 and oldest.exists()
    assert not was_taken(train("b again", max_length=201))


def age(folder: Path) -> None:
    """Makes the files a day old: clocks of file systems may be coarser than a run is long."""
    for path in folder.iterdir():
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 86400))


def test_writers_at_the_same_time_leave_one_whole_file(tmp_path: Path) -> None:
    rows = [make_row(start=index) for index in range(5000)]
    tensors = {"train": torch.arange(10000.0).view(5000, 2)}
    path = tmp_path / "cache" / "key.safetensors"
    failures: list[str] = []

    class Notes:
        def note(self, text: str) -> None:
            failures.append(text)

    def write() -> None:
        for _repeat in range(30):
            reference._write_cache(Notes(), path, tensors)  # type: ignore[arg-type]

    writers = [threading.Thread(target=write) for _number in range(4)]
    for writer in writers:
        writer.start()
    reads = [reference._read_cache(path, {"train": rows}) for _look in look_while(writers)]
    assert not failures
    seen = [index for index, read in enumerate(reads) if read is not None]
    assert seen and all(reads[index] is not None for index in range(seen[0], len(reads)))  # never half of it
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def look_while(threads: list[threading.Thread]) -> Iterator[int]:
    count = 0
    while any(thread.is_alive() for thread in threads):
        yield count
        count += 1
    yield count
    for thread in threads:
        thread.join()


def test_single_replies_and_pairs_lie_in_one_table(train: Train, tmp_path: Path) -> None:
    """KTO's data may mix both; a row of one reply has one number."""
    single = make_record("What else is there?", "Yes.", "No.")
    single = {"prompt": single["prompt"], "completion": single["chosen"], "label": True}
    assert not was_taken(train("first", "kto", train=[*TRAIN, single]))
    assert was_taken(train("second", "kto", train=[*TRAIN, single]))
    first, second = (read_lines(tmp_path / name / "metrics.jsonl") for name in ("first", "second"))
    assert first == second
