"""Conversations to token ids: one rendering, used alike for training, sampling and scoring.

A conversation is rendered once, whole, with the model's chat template, and the boundary between prompt and completion
is found in the token ids. Templating the parts separately would repeat or lose system prompts, BOS and turn ends.

Rules, stated once:
- The template alone decides about BOS and EOS; tokenizing never adds special tokens.
- A completion is what the template renders for the reply, turn end included. If it must be cut, its end (and with it
  the turn end) is lost: a cut reply does not teach the model to stop there.
- The prompt is the longest common prefix of the rendered prompt and of both rendered conversations, so that both sides
  of a pair share it token by token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Mapping[str, str]]

_FALLBACK_BODY = (
    "{%- for message in messages %}"
    "{%- if message['role'] == 'assistant' %}{{ '\n\nAssistant: ' + message['content'] + eos_token }}"
    "{%- elif message['role'] == 'system' %}{{ message['content'] }}"
    "{%- else %}{{ '\n\nHuman: ' + message['content'] }}{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '\n\nAssistant:' }}{%- endif %}"
)
FALLBACK_TEMPLATE = _FALLBACK_BODY
"""For tokenizers without a chat template: plain 'Human:' and 'Assistant:' paragraphs, EOS after each reply.

The generation prompt ends before the space, because many tokenizers keep a space and the word after it in one token.
"""
FALLBACK_TEMPLATE_WITH_BOS = "{{ bos_token }}" + _FALLBACK_BODY


class UnusablePairError(ValueError):
    """A pair that cannot be trained on; ``code`` is stable and is what reports count."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class EncodedPair:
    """Token ids of one comparison; ``prompt + chosen`` and ``prompt + rejected`` are the two sequences."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    prompt_cut: int
    """Tokens lost at the start of the prompt."""
    chosen_cut: int
    """Tokens lost at the end of the chosen reply."""
    rejected_cut: int

    @property
    def is_cut(self) -> bool:
        return bool(self.prompt_cut or self.chosen_cut or self.rejected_cut)

    @property
    def length(self) -> int:
        """Tokens of the longer of the two sequences."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


def ensure_chat_template(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Gives a tokenizer without a chat template the plain fallback; True when it had to.

    The fallback becomes part of the tokenizer, so a model trained with it is saved with it.
    """
    if tokenizer.chat_template:
        return False
    adds_bos = tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    tokenizer.chat_template = FALLBACK_TEMPLATE_WITH_BOS if adds_bos else FALLBACK_TEMPLATE
    return True


def render_chat(tokenizer: PreTrainedTokenizerBase, messages: Messages, *, generation_prompt: bool) -> str:
    """The conversation as text; raises :class:`UnusablePairError` when the template refuses it."""
    from jinja2 import TemplateError

    try:
        return str(
            tokenizer.apply_chat_template(
                [dict(message) for message in messages], tokenize=False, add_generation_prompt=generation_prompt
            )
        )
    except TemplateError as error:
        raise UnusablePairError("template_refused", f"The chat template refuses this conversation: {error}") from error


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of rendered text; nothing is added."""
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def encode_prompt(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> list[int]:
    """Token ids from which the model is to continue as the assistant."""
    return encode_text(tokenizer, render_chat(tokenizer, messages, generation_prompt=True))


def encode_conversation(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> list[int]:
    """Token ids of a finished conversation, as a reward model reads it."""
    return encode_text(tokenizer, render_chat(tokenizer, messages, generation_prompt=False))


def encode_pair(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Messages,
    chosen: Messages,
    rejected: Messages,
    max_length: int,
    max_prompt_length: int,
) -> EncodedPair:
    """Encodes one comparison into at most ``max_length`` tokens a side.

    Only when a side is too long is anything cut: first the start of the prompt, down to ``max_prompt_length`` tokens at
    the least (a leading BOS stays), then the end of the replies.

    Raises :class:`UnusablePairError` with code ``empty_side``, ``identical_sides``, ``template_refused``,
    ``prompt_fills_length`` or ``identical_when_cut``.
    """
    _require_two_sides(prompt, chosen, rejected)
    prompt_ids = encode_prompt(tokenizer, prompt)
    whole = [encode_conversation(tokenizer, [*prompt, *side]) for side in (chosen, rejected)]
    boundary = min(_common_prefix_length(prompt_ids, ids) for ids in whole)
    prompt_ids = whole[0][:boundary]
    chosen_ids, rejected_ids = (ids[boundary:] for ids in whole)
    if not chosen_ids or not rejected_ids:
        raise UnusablePairError("empty_side", "A reply renders to no tokens.")

    longest = max(len(chosen_ids), len(rejected_ids))
    kept_prompt = prompt_ids
    if boundary + longest > max_length:
        kept_prompt = _keep_end(prompt_ids, max(max_prompt_length, max_length - longest), tokenizer.bos_token_id)
    room = max_length - len(kept_prompt)
    if room <= 0:
        raise UnusablePairError("prompt_fills_length", f"The prompt alone fills the {max_length} tokens.")
    pair = EncodedPair(
        prompt=kept_prompt,
        chosen=chosen_ids[:room],
        rejected=rejected_ids[:room],
        prompt_cut=boundary - len(kept_prompt),
        chosen_cut=max(0, len(chosen_ids) - room),
        rejected_cut=max(0, len(rejected_ids) - room),
    )
    if pair.chosen == pair.rejected:
        raise UnusablePairError("identical_when_cut", f"Within {max_length} tokens the two replies are the same.")
    return pair


def _require_two_sides(prompt: Messages, chosen: Messages, rejected: Messages) -> None:
    if not prompt:
        raise UnusablePairError("empty_prompt", "The prompt has no messages.")
    for name, side in (("chosen", chosen), ("rejected", rejected)):
        if not side or not any(message["content"].strip() for message in side):
            raise UnusablePairError("empty_side", f"The {name} reply is empty.")
    if [dict(message) for message in chosen] == [dict(message) for message in rejected]:
        raise UnusablePairError("identical_sides", "The two replies are the same.")


def _keep_end(ids: list[int], limit: int, bos_id: int | None) -> list[int]:
    """The last ``limit`` ids; a BOS at the start is kept, since some models break without it."""
    if len(ids) <= limit:
        return ids
    if limit > 1 and bos_id is not None and ids[0] == bos_id:
        return [bos_id, *ids[len(ids) - limit + 1 :]]
    return ids[len(ids) - limit :]


def _common_prefix_length(left: list[int], right: list[int]) -> int:
    for position, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return position
    return min(len(left), len(right))
