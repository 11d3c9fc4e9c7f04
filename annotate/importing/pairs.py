"""Our own pairs format, one object a line::

    {"prompt": "a text" or [messages], "responses": [a, b], "winner": "a" or "b" (optional), "id": ... (optional)}
    {"prompt": "a text" or [messages], "chosen": response, "rejected": response, "id": ... (optional)}
    {"chosen": [messages], "rejected": [messages]}      both whole dialogues, alike up to the last message

A response is a text or a list with one assistant message, a message is {"role", "content"}: the second and third form
are what TRL calls conversational preference with an explicit and an implicit prompt. Our own exports are read back.
A line of any form may have a known answer beside it (gold.py).
Texts are kept byte for byte. Further fields are not kept; the report counts them.
"""

from __future__ import annotations

from typing import Any

from annotate.importing.fields import (
    Message,
    check_different,
    check_last_is_user,
    get_required,
    has_turns_in_a_row,
    name_unknown,
    read_messages,
    read_prompt,
    read_response,
    read_source_id,
)
from annotate.importing.gold import read_gold
from annotate.importing.problems import LineProblem, show_text
from annotate.importing.rows import PairRow
from annotate.importing.strict_json import name_type

_KNOWN = frozenset({"prompt", "responses", "winner", "chosen", "rejected", "id", "gold"})


def parse_pair(fields: dict[str, Any]) -> PairRow:
    """Raises LineProblem."""
    ignored = name_unknown(fields, _KNOWN)
    if fields.get("responses") is not None:
        if "chosen" in fields or "rejected" in fields:
            raise LineProblem("two_forms", "The line has both 'responses' and 'chosen' or 'rejected'.", "responses")
        messages, first, second = _read_responses(fields, ignored)
        winner = _read_winner(fields)
    else:
        if fields.get("winner") is not None:
            raise LineProblem("two_forms", "'winner' goes with 'responses'; 'chosen' is the winner already.", "winner")
        messages, first, second = _read_chosen(fields, ignored)
        winner = "a"
    check_different(first, second, "rejected" if "rejected" in fields else "responses")
    notes = frozenset({"turns_in_a_row"}) if has_turns_in_a_row(messages) else frozenset()
    gold = read_gold(fields, ignored)
    return PairRow(messages, first, second, winner, read_source_id(fields), notes, frozenset(ignored), gold)


def _read_responses(fields: dict[str, Any], ignored: set[str]) -> tuple[list[Message], str, str]:
    messages = read_prompt(get_required(fields, "prompt"), "prompt", ignored)
    responses = fields["responses"]
    if not isinstance(responses, list):
        raise LineProblem("wrong_type", f"'responses' is {name_type(responses)}, not a list of two.", "responses")
    if len(responses) != 2:
        raise LineProblem("wrong_type", f"'responses' has {len(responses)} entries, not two.", "responses")
    first, second = (read_response(value, f"responses[{number}]", ignored) for number, value in enumerate(responses))
    return messages, first, second


def _read_winner(fields: dict[str, Any]) -> str:
    winner = fields.get("winner")
    if winner is None:
        return ""
    if not isinstance(winner, str) or winner not in {"a", "b"}:
        shown = show_text(winner) if isinstance(winner, str) else name_type(winner)
        raise LineProblem("bad_winner", f'\'winner\' is {shown}; it must be "a", "b" or left out.', "winner")
    return winner


def _read_chosen(fields: dict[str, Any], ignored: set[str]) -> tuple[list[Message], str, str]:
    if fields.get("chosen") is None and fields.get("rejected") is None:
        raise LineProblem("missing_field", "The line has neither 'responses' nor 'chosen' and 'rejected'.", "responses")
    chosen, rejected = get_required(fields, "chosen"), get_required(fields, "rejected")
    if fields.get("prompt") is not None:
        messages = read_prompt(fields["prompt"], "prompt", ignored)
        return messages, read_response(chosen, "chosen", ignored), read_response(rejected, "rejected", ignored)
    if isinstance(chosen, str):
        reason = "The field 'prompt' is missing. (Whole dialogues as text are the HH-RLHF format.)"
        raise LineProblem("missing_field", reason, "prompt")
    return _split_dialogues(read_messages(chosen, "chosen", ignored), read_messages(rejected, "rejected", ignored))


def _split_dialogues(chosen: list[Message], rejected: list[Message]) -> tuple[list[Message], str, str]:
    for name, dialogue in (("chosen", chosen), ("rejected", rejected)):
        if dialogue[-1]["role"] != "assistant":
            reason = f"The last turn of {name!r} is the {dialogue[-1]['role']}'s; it must be the assistant's."
            raise LineProblem("last_turn", reason, name)
    if chosen[:-1] != rejected[:-1]:
        raise LineProblem("prompts_differ", "'chosen' and 'rejected' differ before the last message.", "rejected")
    check_last_is_user(chosen[:-1], "chosen")
    return chosen[:-1], chosen[-1]["content"], rejected[-1]["content"]
