"""Token ids as a person reads them: text in pieces, a character that is spread over several tokens in one piece."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from models_registry.inference.control_tokens import find_control_tokens

BROKEN = "\N{REPLACEMENT CHARACTER}"
"""What tokenizers write for bytes that are no whole character."""
MOST_TOGETHER = 8
"""Tokens of one piece: a character has four bytes at most, so beyond this the text itself is broken."""


@dataclass(frozen=True)
class Piece:
    """One token, or the several that make up one character."""

    ids: list[int]
    text: str
    is_control: bool = False
    """BOS, EOS, the start or end of a turn: what only the chat template may write."""


class PieceReader:
    """Turns the ids of one tokenizer into pieces."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        pattern = find_control_tokens(tokenizer).elsewhere
        added = tokenizer.added_tokens_decoder.items()
        self._control = {id: token.content for id, token in added if pattern.fullmatch(token.content)}

    def read(self, ids: Sequence[int], *, after: Sequence[int] = (), breaks: Collection[int] = ()) -> list[Piece]:
        """Pieces whose ids are ``ids``, one after the other.

        ``after`` is what comes before them: some tokenizers write a word's space only where a word precedes it. A piece
        ends at each place in ``breaks``, even within a character; both halves are then shown as broken.
        """
        pieces: list[Piece] = []
        ids = [*after[-1:], *ids]
        shift = len(after[-1:])
        stops = {place + shift for place in breaks} | {len(ids)}
        known, start = 0, shift  # ids[known:start] were shown and serve as context of the next piece
        for place in range(shift, len(ids)):
            end = place + 1
            if ids[place] in self._control:
                pieces.append(Piece([ids[place]], self._control[ids[place]], is_control=True))
                known, start = place, end
                continue
            text = self._decode(ids[known:end])[len(self._decode(ids[known:start])) :]
            is_broken = text.endswith(BROKEN)
            must_end = end in stops or ids[end] in self._control or end - start >= MOST_TOGETHER
            if is_broken and not must_end:
                continue
            pieces.append(Piece(ids[start:end], text.replace("\x00", "\N{SYMBOL FOR NULL}")))
            # Half a character is no context: with its other half it would become a whole one.
            known, start = (end if is_broken else start), end
        return pieces

    def _decode(self, ids: list[int]) -> str:
        options: dict[str, Any] = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
        return str(self._tokenizer.decode(ids, **options)) if ids else ""
