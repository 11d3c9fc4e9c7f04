"""No prompt is in both parts, and further data moves nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from annotate.exporting.split import EVAL, TRAIN, choose_split, digest_opening

ROLES = st.sampled_from(["user", "assistant"])
TURNS = st.fixed_dictionaries({"role": ROLES, "content": st.text(max_size=8)})
DIALOGUES = st.lists(TURNS, min_size=1, max_size=5)
SHARES = st.floats(0, 0.5)
SEEDS = st.integers(0, 2**31 - 1)


def split(messages: list[dict[str, str]], share: float, seed: int) -> str:
    return choose_split(digest_opening(messages), eval_share=share, seed=seed)


@given(dialogue=DIALOGUES, more=DIALOGUES, share=SHARES, seed=SEEDS)
def test_a_prompt_and_every_continuation_of_it_share_a_part(
    dialogue: list[dict[str, str]], more: list[dict[str, str]], share: float, seed: int
) -> None:
    opened = [*dialogue, {"role": "user", "content": "?"}]
    assert split(opened, share, seed) == split([*opened, *more], share, seed)


@given(dialogues=st.lists(DIALOGUES, max_size=10), new=DIALOGUES, share=SHARES, seed=SEEDS)
def test_adding_data_never_moves_a_prompt(dialogues: list[Any], new: Any, share: float, seed: int) -> None:
    before = [split(dialogue, share, seed) for dialogue in dialogues]
    after = [split(dialogue, share, seed) for dialogue in [new, *dialogues]][1:]
    assert before == after


@given(dialogue=DIALOGUES, share=SHARES, more=SHARES, seed=SEEDS)
def test_a_larger_share_only_adds_to_the_evaluation_part(dialogue: Any, share: float, more: float, seed: int) -> None:
    if split(dialogue, min(share, more), seed) == EVAL:
        assert split(dialogue, max(share, more), seed) == EVAL


@given(dialogue=DIALOGUES, seed=SEEDS)
def test_no_share_means_no_evaluation(dialogue: Any, seed: int) -> None:
    assert split(dialogue, 0.0, seed) == TRAIN


def test_shares_are_met_and_seeds_differ() -> None:
    openings = [[{"role": "user", "content": str(number)}] for number in range(2000)]
    first = [split(opening, 0.25, 0) for opening in openings]
    assert 0.22 < first.count(EVAL) / 2000 < 0.28
    second = [split(opening, 0.25, 1) for opening in openings]
    both = sum(one == two == EVAL for one, two in zip(first, second, strict=True))
    assert 0.04 < both / 2000 < 0.09
