"""Which rows are for training and which for evaluation.

The split is by the opening of the dialogue (everything up to the user's first turn), not by the whole prompt: data of
live chats holds one conversation at several lengths, and a later turn quotes the earlier reply that was judged. Equal
prompts have equal openings, so no prompt is ever in both parts. The part follows from opening, seed and share alone:
further data moves nothing, and a larger share only adds to the evaluation part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from annotate.services.prompts import digest_messages

TRAIN, EVAL = "train", "eval"


def digest_opening(messages: Sequence[Mapping[str, str]]) -> str:
    """SHA-256 (hex) of the dialogue up to and with the user's first turn."""
    for number, message in enumerate(messages, start=1):
        if message["role"] == "user":
            return digest_messages(messages[:number])
    return digest_messages(messages)


def choose_split(opening_digest: str, *, eval_share: float, seed: int) -> str:
    """``eval`` for the share's part of all openings, else ``train``."""
    digest = hashlib.sha256(f"{seed}:{opening_digest}".encode()).digest()
    return EVAL if int.from_bytes(digest[:8], "big") < eval_share * 2**64 else TRAIN
