"""Why a record of the data is left out, in words by the code that the result counts it under. No torch here."""

from __future__ import annotations

DROPPED = {
    "too_long": "longer than the limit",
    "identical_sides": "both responses are the same",
    "identical_when_cut": "both responses are the same within the limit",
    "empty_side": "a response is empty",
    "empty_prompt": "the prompt has no messages",
    "prompt_fills_length": "the prompt alone fills the limit",
    "template_refused": "the model's chat template refuses the conversation",
    "not_wanted": "SFT learns from wanted responses alone",
}


def name_dropped(code: str) -> str:
    return DROPPED.get(code, code.replace("_", " "))
