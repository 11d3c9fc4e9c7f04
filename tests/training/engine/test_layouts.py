"""Rows: every token sees what stands before it in its own conversation, at the right place, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.tiny_models import make_tiny_architecture
from tests.training.engine.runs import make_row, repeatable
from training.engine.attention import TREES
from training.engine.batches import Arrangement, Batch, collate
from training.engine.data import Row
from training.engine.layouts import PACKED, PLAIN, SHARED, Layout, Tree, lay_out, make_mask, measure, pack
from training.engine.logps import PolicyScorer

PAD = -1
KINDS = (PLAIN, SHARED, PACKED)


def number_trees(shapes: Sequence[tuple[int, Sequence[int]]]) -> list[Tree]:
    """Trees of these lengths (prompt, branches) in which no token occurs twice."""
    count = iter(range(10_000))

    def take(size: int) -> list[int]:
        return [next(count) for _token in range(size)]

    return [Tree(take(prompt), tuple(take(size) for size in branches)) for prompt, branches in shapes]


def see(layout: Layout, position: int) -> list[int]:
    """The tokens that the one at a flat position sees, in the order in which they count; checks that none is missed."""
    row, column = divmod(position, layout.input_ids.shape[1])
    if layout.trees is None:
        assert layout.branches is None and layout.position_ids is None
        return layout.input_ids[row, : column + 1].tolist()
    assert layout.branches is not None and layout.position_ids is not None
    keys = make_mask(layout.trees, layout.branches)[row, 0, column].nonzero().squeeze(1)
    places = layout.position_ids[row, keys]
    assert places.tolist() == list(range(len(keys)))  # one for each place, counted through
    return layout.input_ids[row, keys].tolist()


shapes = st.lists(
    st.tuples(st.integers(0, 5), st.lists(st.integers(1, 5), min_size=1, max_size=3)), min_size=1, max_size=6
)


@pytest.mark.parametrize("kind", KINDS)
@given(shapes=shapes, capacity=st.integers(1, 40))
@repeatable
def test_each_token_is_predicted_from_its_own_conversation(
    kind: str, shapes: list[tuple[int, list[int]]], capacity: int
) -> None:
    trees = number_trees(shapes)
    layout = lay_out(trees, kind, pad_id=PAD, capacity=capacity)
    branch = 0
    for number, tree in enumerate(trees):
        prompt = list(tree.prompt)
        assert layout.prompt_targets[number].tolist() == prompt[1:]
        for step, position in enumerate(layout.prompt_positions[number].tolist(), start=1):
            assert see(layout, position) == prompt[:step]
        for reply in map(list, tree.branches):
            first = 0 if prompt else 1  # nothing stands before the first token of all
            assert layout.reply_targets[branch].tolist() == reply[first:]
            positions = layout.reply_positions[branch].tolist()
            assert len(positions) == len(reply) - first
            for step, position in enumerate(positions, start=first):
                assert see(layout, position) == prompt + reply[:step]
            assert see(layout, int(layout.ends[branch])) == prompt + reply
            branch += 1
    assert len(layout.reply_positions) == len(layout.ends) == branch
    assert len(layout.prompt_positions) == len(trees)


@pytest.mark.parametrize("kind", KINDS)
@given(shapes=shapes, capacity=st.integers(1, 40))
@repeatable
def test_rows_hold_each_token_as_often_as_the_layout_says(
    kind: str, shapes: list[tuple[int, list[int]]], capacity: int
) -> None:
    trees = number_trees(shapes)
    layout = lay_out(trees, kind, pad_id=PAD, capacity=capacity)
    rows = [row[:length].tolist() for row, length in zip(layout.input_ids, layout.row_lengths, strict=True)]
    assert all(row.count(PAD) == 0 for row in rows)
    assert int((layout.input_ids == PAD).sum()) == layout.input_ids.numel() - sum(map(len, rows))
    assert layout.input_ids.shape[1] == max(map(len, rows))  # no column of padding alone
    copies = [len(tree.branches) if kind == PLAIN else 1 for tree in trees]
    expected = [
        token
        for tree, times in zip(trees, copies, strict=True)
        for token in [*list(tree.prompt) * times, *(token for branch in tree.branches for token in branch)]
    ]
    assert sorted(token for row in rows for token in row) == sorted(expected)
    if kind == SHARED:
        assert len(rows) == len(trees)
    if kind == PACKED:
        assert max(map(len, rows)) <= max([capacity, *map(measure, trees)])


def test_padding_sees_itself_and_padding_alone() -> None:
    """A query that saw nothing would be 0/0, and what it says must not come from a conversation."""
    layout = lay_out(number_trees([(2, [3, 1]), (1, [1])]), SHARED, pad_id=PAD)
    assert layout.trees is not None and layout.branches is not None
    sees = make_mask(layout.trees, layout.branches)[1, 0]
    assert layout.row_lengths.tolist() == [6, 2]
    assert not sees[2:, :2].any()
    assert sees.diagonal().all()
    assert not sees.triu(1).any()


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=40), room=st.integers(0, 40))
@repeatable
def test_bins_hold_each_item_once_and_never_too_much(sizes: list[int], room: int) -> None:
    capacity = max(sizes) + room
    bins = pack(sizes, capacity)
    assert sorted(number for each in bins for number in each) == list(range(len(sizes)))
    filled = [sum(sizes[number] for number in each) for each in bins]
    assert max(filled) <= capacity
    # First fit opens a bin only where no other has room, so at most one is half empty.
    assert sum(2 * amount <= capacity for amount in filled) <= 1


def test_bins_by_hand() -> None:
    # largest first: 7 | 5 | then 4 beside the 5, 3 beside the 7, 1 with the 5 and the 4
    assert pack([1, 3, 4, 5, 7], 10) == [[4, 1], [3, 2, 0]]


def score(batch: Batch, scorer: PolicyScorer) -> Tensor:
    with torch.no_grad():
        sums: Tensor = scorer(batch)
    return sums


def change_reply(row: Row, reply: int) -> Row:
    """The row with other tokens in one of its replies."""
    replies = list(row.replies)
    replies[reply] = [token + 40 for token in replies[reply]]
    return Row(row.prompt, tuple(replies), row.labels)


@pytest.mark.parametrize("kind", [SHARED, PACKED])
@pytest.mark.parametrize(
    ("architecture", "attention"),
    [("llama", "sdpa"), ("gpt2", "sdpa"), ("gemma2", "eager"), ("llama", TREES), ("gpt2", TREES)],
)
def test_nothing_leaks_between_branches_and_trees(architecture: str, attention: str, kind: str) -> None:
    """Bit by bit: attention to what is masked is exactly zero."""
    model = make_tiny_architecture(architecture)
    model.set_attn_implementation(attention)
    scorer = PolicyScorer(model)
    rows = [make_row(4, 5, prompt=7, start=3), make_row(3, 6, prompt=8, start=9), make_row(2, 2, prompt=9, start=20)]
    arrangement = Arrangement(0, layout=kind, capacity=60, with_prompt=True)
    before = score(collate(rows, arrangement), scorer)
    for row, reply in [(0, 0), (0, 1), (1, 0), (2, 1)]:
        changed = [change_reply(each, reply) if number == row else each for number, each in enumerate(rows)]
        batch = collate(changed, arrangement)
        assert batch.trees is not None and (kind == SHARED or len(batch.input_ids) == 1)
        after = score(batch, scorer)
        assert (after != before).nonzero().flatten().tolist() == [3 * reply + row]
