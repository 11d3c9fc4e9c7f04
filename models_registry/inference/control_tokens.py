"""The strings that a tokenizer reads as one token wherever they stand, and how to keep messages from speaking in them.

A message may hold the text of a control token (``<|im_end|>``, ``</s>``): pasted from a log, or put there on purpose.
In the rendered conversation it cannot be told from the template's own. So a mark, a character that no message has, is
put into every such text before rendering; the rendered text is tokenized in pieces, cut at the marks.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Mapping[str, str]]

_FIRST_MARK = 0xF0000
"""Where the private-use planes begin."""


@dataclass(frozen=True)
class ControlTokens:
    """Patterns of a tokenizer's control tokens."""

    in_replies: re.Pattern[str]
    """Special tokens. Others (<think>, <tool_call>) survive decoding: in replies they are the model's own words."""
    elsewhere: re.Pattern[str]
    """Special tokens, and others that the chat template writes."""
    standing_alone: re.Pattern[str]
    """Tokens at which a text is parted before anything else happens to it; what lies between is tokenized by itself."""

    def choose_mark(self, chats: Iterable[Messages]) -> str:
        """A character that is in none of these messages; empty where none of them holds a control token's text."""
        messages = [message for chat in chats for message in chat]
        if not any(
            self._choose(message).search(text) for message in messages for text in _find_texts(message).values()
        ):
            return ""
        taken = set().union(*(text for message in messages for text in _find_texts(message).values()))
        return next(mark for mark in map(chr, range(_FIRST_MARK, sys.maxunicode)) if mark not in taken)

    def cut(self, messages: Messages, mark: str) -> list[dict[str, str]]:
        """The messages with the mark after the first character of each control token's text, overlapping ones too."""
        return [
            dict(message) | {key: _cut(text, self._choose(message), mark) for key, text in _find_texts(message).items()}
            for message in messages
        ]

    def find_shared_start(self, texts: Sequence[str]) -> int:
        """Up to where the texts are alike and can be tokenized apart from the rest: always before a control token."""
        starts = [{found.start() for found in self.standing_alone.finditer(text)} for text in texts]
        shared = sorted(set.intersection(*starts), reverse=True)
        return next((at for at in shared if all(text.startswith(texts[0][:at]) for text in texts)), 0)

    def _choose(self, message: Mapping[str, str]) -> re.Pattern[str]:
        return self.in_replies if message.get("role") == "assistant" else self.elsewhere


def find_control_tokens(tokenizer: PreTrainedTokenizerBase) -> ControlTokens:
    """What the tokenizer and its chat template use now."""
    return _find_control_tokens(tokenizer, len(tokenizer), str(tokenizer.chat_template))


@lru_cache(maxsize=8)
def _find_control_tokens(tokenizer: PreTrainedTokenizerBase, size: int, template: str) -> ControlTokens:
    """``size`` is there so that a tokenizer that got more tokens is read again."""
    added = list(tokenizer.added_tokens_decoder.values())
    special = {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}
    written = {token.content for token in added if token.content in template and not token.content.isspace()}
    # A token that takes spaces before it along, or is sought in words or normalized text only, parts a text elsewhere.
    plain = {token.content for token in added if not (token.lstrip or token.single_word or token.normalized)}
    return ControlTokens(_match_any(special), _match_any(special | written), _match_any(plain))


def _find_texts(message: Mapping[str, object]) -> dict[str, str]:
    """Role, content, and what else of a message from elsewhere is text."""
    return {key: text for key, text in message.items() if isinstance(text, str)}


def _match_any(tokens: Iterable[str]) -> re.Pattern[str]:
    """The longest one wins where several begin, as in a tokenizer; without tokens there is no match."""
    longest_first = sorted(tokens, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


def _cut(text: str, pattern: re.Pattern[str], mark: str) -> str:
    return re.sub(f"(?={pattern.pattern}).", lambda found: found[0] + mark, text, flags=re.DOTALL)
