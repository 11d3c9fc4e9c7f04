"""Prompts alone, one object a line: ``{"prompt": "a text" or [messages], "id": ... (optional)}``.

``messages`` may stand for ``prompt``. The last turn is the user's: a model will answer it.
"""

from __future__ import annotations

from typing import Any

from annotate.importing.fields import get_required, has_turns_in_a_row, name_unknown, read_prompt, read_source_id
from annotate.importing.problems import LineProblem
from annotate.importing.rows import PromptRow

_KNOWN = frozenset({"prompt", "messages", "id"})


def parse_prompt(fields: dict[str, Any]) -> PromptRow:
    """Raises LineProblem."""
    if fields.get("prompt") is not None and fields.get("messages") is not None:
        raise LineProblem("two_forms", "The line has both 'prompt' and 'messages'.", "messages")
    name = "messages" if fields.get("prompt") is None and fields.get("messages") is not None else "prompt"
    ignored = name_unknown(fields, _KNOWN)
    messages = read_prompt(get_required(fields, name), name, ignored)
    notes = frozenset({"turns_in_a_row"}) if has_turns_in_a_row(messages) else frozenset()
    return PromptRow(messages, read_source_id(fields), notes, frozenset(ignored))
