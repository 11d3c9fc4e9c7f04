"""Anthropic's HH-RLHF format: ``{"chosen": str, "rejected": str}``, each a whole dialogue of turns that start with
``\\n\\nHuman:`` or ``\\n\\nAssistant:``, the two alike up to the last reply.

Blanks around a turn are the format's, not the speaker's, and are dropped. The file's known blemishes:

- an empty side (``empty_text``), two equal last replies (``identical_responses``) and dialogues that differ before the
  last ``Assistant:`` (``prompts_differ``) leave nothing fair to compare: the line is bad. Where one side has two
  Assistant turns at its end, the dialogues differ in this sense, for one reply answers the other's own words;
- two turns of one speaker in a row further up are joined by a blank line (``merged_turns``), since chat templates want
  the speakers to alternate.

A line may have a known answer beside it (gold.py).
"""

from __future__ import annotations

import re
from typing import Any

from annotate.importing.fields import (
    Message,
    check_different,
    check_last_is_user,
    check_text,
    get_required,
    name_unknown,
    read_source_id,
)
from annotate.importing.gold import read_gold
from annotate.importing.problems import LineProblem
from annotate.importing.rows import PairRow

_KNOWN = frozenset({"chosen", "rejected", "id", "gold"})
_TURN = re.compile(r"\n\n(Human|Assistant):")
_LAST_REPLY = "\n\nAssistant:"
_ROLES = {"Human": "user", "Assistant": "assistant"}
MAX_DIALOGUE_BYTES = 500_000
"""A side is a dialogue, not one text; each of its turns obeys the cap of a field."""


def parse_hh_rlhf(fields: dict[str, Any]) -> PairRow:
    """Raises LineProblem."""
    chosen_prompt, chosen = _split_reply(get_required(fields, "chosen"), "chosen")
    rejected_prompt, rejected = _split_reply(get_required(fields, "rejected"), "rejected")
    if chosen_prompt != rejected_prompt:
        raise LineProblem("prompts_differ", "'chosen' and 'rejected' differ before the last reply.", "rejected")
    check_different(chosen, rejected, "rejected")
    turns = _read_turns(chosen_prompt)
    messages = _merge_turns(turns)
    check_last_is_user(messages, "chosen")
    notes = frozenset({"merged_turns"}) if len(messages) < len(turns) else frozenset()
    ignored = name_unknown(fields, _KNOWN)
    gold = read_gold(fields, ignored)
    return PairRow(messages, chosen, rejected, "a", read_source_id(fields), notes, frozenset(ignored), gold)


def _split_reply(side: Any, field: str) -> tuple[str, str]:
    """The dialogue before the last reply, and that reply."""
    if isinstance(side, str) and len(side) > MAX_DIALOGUE_BYTES:
        reason = f"{field!r} has {len(side):,} characters; at most {MAX_DIALOGUE_BYTES:,}."
        raise LineProblem("field_too_long", reason, field)
    if not isinstance(side, str) or not side.strip():
        check_text(side, field)
    before, marker, reply = side.rpartition(_LAST_REPLY)
    if not marker:
        raise LineProblem("no_dialogue", f"{field!r} has no turn of the Assistant.", field)
    if _TURN.search(reply):
        raise LineProblem("last_turn", f"The last turn of {field!r} is the Human's; it must be the Assistant's.", field)
    return before, check_text(reply.strip(), field, f"The last reply of {field!r}")


def _read_turns(dialogue: str) -> list[Message]:
    # split with a group: text before the first marker, then speaker, text, speaker, text ...
    head, *rest = _TURN.split(dialogue)
    if head.strip() or not rest:
        raise LineProblem("no_dialogue", "The dialogue does not start with a turn of the Human or Assistant.", "chosen")
    return [
        {"role": _ROLES[speaker], "content": check_text(text.strip(), "chosen", f"Turn {number}")}
        for number, (speaker, text) in enumerate(zip(rest[::2], rest[1::2], strict=True), start=1)
    ]


def _merge_turns(turns: list[Message]) -> list[Message]:
    merged: list[Message] = []
    for turn in turns:
        if merged and merged[-1]["role"] == turn["role"]:
            joined = check_text(f"{merged[-1]['content']}\n\n{turn['content']}", "chosen", "A turn")
            merged[-1] = {"role": turn["role"], "content": joined}
        else:
            merged.append(turn)
    return merged
