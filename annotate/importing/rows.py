"""What a good line becomes: a pair or a prompt."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from annotate.importing.fields import Message
from annotate.services.prompts import digest_messages


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """What makes a pair gold; ``winner`` is a (the first response), b or nothing."""

    winner: str
    grade: str
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class WorkerVote:
    """``winner`` and ``left`` are a (the first response), b or nothing."""

    worker: str
    winner: str
    grade: str
    left: str


@dataclass(frozen=True, slots=True)
class PairRow:
    """Two responses in the file's order; ``winner`` is "a" (the first), "b" or empty."""

    messages: list[Message]
    first: str
    second: str
    winner: str = ""
    source_id: str = ""
    notes: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    gold: KnownAnswer | None = None
    votes: tuple[WorkerVote, ...] = ()

    @property
    def key(self) -> bytes:
        return key_pair(digest_messages(self.messages), self.first, self.second)

    @property
    def claim(self) -> bytes:
        """16 bytes of the known answer or the votes, the same in either order of the responses; nothing without."""
        texts = {"a": self.first, "b": self.second, "": ""}
        said = [(vote.worker, texts[vote.winner], vote.grade, texts[vote.left]) for vote in self.votes]
        if self.gold:
            said.append(("", texts[self.gold.winner], self.gold.grade, ""))
        return hashlib.blake2b(repr(sorted(said)).encode("utf-8"), digest_size=16).digest() if said else b""


@dataclass(frozen=True, slots=True)
class PromptRow:
    """A prompt without responses."""

    messages: list[Message]
    source_id: str = ""
    notes: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()

    @property
    def key(self) -> bytes:
        return bytes.fromhex(digest_messages(self.messages))[:16]


Row = PairRow | PromptRow


def key_pair(prompt_digest: str, first: str, second: str) -> bytes:
    """16 bytes that are the same for the same prompt and the same two responses, in either order."""
    digest = hashlib.blake2b(bytes.fromhex(prompt_digest), digest_size=16)
    for side in sorted(hashlib.sha256(text.encode("utf-8")).digest() for text in (first, second)):
        digest.update(side)
    return digest.digest()
