"""Rows token by token, as JSON that a page and a terminal show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from training.engine.config import TrainingConfig
from training.engine.data import Outcome
from training.engine.methods.base import Method
from training.engine.preview.pieces import Piece, PieceReader
from training.engine.preview.states import CUT, Span, encode_whole, list_spans

LONGEST_STRETCH = 1000
"""Pieces of one state in a row that an example shows; of more the middle is left out."""


class ExampleWriter:
    """Rows as JSON for people."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, config: TrainingConfig, method: Method) -> None:
        self._tokenizer, self._config, self._method = tokenizer, config, method
        self._reader = PieceReader(tokenizer)

    def write(self, outcome: Outcome) -> dict[str, Any]:
        """Line, and its parts with their tokens in order, the cut ones included."""
        row, cuts = outcome.row, outcome.cuts
        if row is None:
            raise ValueError("only a row that is trained on has tokens to show")
        whole = encode_whole(self._tokenizer, outcome.record, self._config) if cuts else row
        if whole is None:
            raise ValueError("a row that can be encoded within a limit can be encoded without one")
        spans = list_spans(row, self._method)
        names = list(spans)
        full = dict(zip(names, [whole.prompt, *whole.replies], strict=True))
        parts = []
        for name in names:
            cut = cuts.get(name, 0)
            if name == "prompt":
                kept_first = _count_kept_first(whole.prompt, row.prompt, cut)
                stretches = _cut_start(spans[name], cut, kept_first)
            else:
                stretches = [*spans[name], (CUT, cut)]
            after = [] if name == "prompt" else whole.prompt
            tokens = self._show(full[name], after, stretches)
            if self._method.trains_reward_model and name != "prompt":
                _mark_score(tokens)
            parts.append({"name": name, "length": len(full[name]) - cut, "cut": cut, "tokens": _shorten(tokens)})
        moved = row.boundary_moved
        return {"line": outcome.record.line, "grade": row.grade, "boundary_moved": moved, "parts": parts}

    def _show(self, ids: Sequence[int], after: Sequence[int], stretches: Iterable[Span]) -> list[dict[str, Any]]:
        ends, states, end = [], [], 0
        for state, size in stretches:
            if size:
                end += size
                ends.append(end)
                states.append(state)
        tokens, place = [], 0
        for piece in self._reader.read(ids, after=after, breaks=ends):
            while place >= ends[0]:
                ends.pop(0)
                states.pop(0)
            tokens.append(_write_piece(piece, states[0]))
            place += len(piece.ids)
        return tokens


def _write_piece(piece: Piece, state: str) -> dict[str, Any]:
    token: dict[str, Any] = {"ids": piece.ids, "text": piece.text, "state": state}
    return token | {"control": True} if piece.is_control else token


def _count_kept_first(whole: list[int], kept: list[int], cut: int) -> int:
    """1 where a BOS stays before the cut, else 0."""
    return 0 if whole[cut:] == kept else 1


def _cut_start(spans: list[Span], cut: int, kept_first: int) -> list[Span]:
    """The spans of what is kept, with the cut tokens after the first ``kept_first`` of them."""
    if not cut:
        return spans
    before, rest, left = [], [], kept_first
    for state, size in spans:
        taken = min(size, left)
        left -= taken
        before.append((state, taken))
        rest.append((state, size - taken))
    return [*before, (CUT, cut), *rest]


def _mark_score(tokens: list[dict[str, Any]]) -> None:
    """The score is read at the last token that is kept."""
    kept = [token for token in tokens if token["state"] != CUT]
    kept[-1]["score"] = True


def _shorten(tokens: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leaves out the middle of long stretches; one token then says how many ``left_out`` stood there."""
    shown: list[dict[str, Any]] = []
    at = 0
    while at < len(tokens):
        end = at
        while end < len(tokens) and tokens[end]["state"] == tokens[at]["state"]:
            end += 1
        stretch, half = tokens[at:end], LONGEST_STRETCH // 2
        if len(stretch) > LONGEST_STRETCH:
            left_out = sum(len(token["ids"]) for token in stretch[half:-half])
            gap = {"ids": [], "text": "", "state": stretch[0]["state"], "left_out": left_out}
            stretch = [*stretch[:half], gap, *stretch[-half:]]
        shown += stretch
        at = end
    return shown
