"""Conversations to token ids: one rendering, used alike for training, sampling and scoring.

A conversation is rendered once, whole, with the model's chat template, and the boundary between prompt and completion
is found in the token ids. Templating the parts separately would repeat or lose system prompts, BOS and turn ends.

Rules, stated once:
- The template alone decides about BOS and EOS; tokenizing never adds special tokens.
- Only the template speaks to the model in control tokens. What spells one inside a message (``<|im_end|>``, ``</s>``)
  is text: it is cut after its first character, so that it becomes ordinary tokens which decode to the same text.
- A completion is what the template renders for the reply, turn end included. If it must be cut, its end (and with it
  the turn end) is lost: a cut reply does not teach the model to stop there.
- The prompt is the longest common prefix of the rendered prompt and of both rendered conversations, so that both sides
  of a pair share it token by token. Where that ends before the rendered prompt does, ``boundary_moved`` says by how
  many tokens: one where the prompt's last token merges with the reply, more where the template renders a finished turn
  unlike the one it asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models_registry.inference.control_tokens import Messages, find_control_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_FALLBACK_BODY = (
    "{%- for message in messages %}"
    "{%- if message['role'] == 'assistant' %}{{ '\n\nAssistant: ' + message['content'] + (eos_token or '') }}"
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
class EncodedReply:
    """Token ids of a prompt with one reply; ``prompt + reply`` is the sequence."""

    prompt: list[int]
    reply: list[int]
    prompt_cut: int
    """Tokens lost at the start of the prompt."""
    reply_cut: int
    """Tokens lost at the end of the reply."""
    boundary_moved: int = 0
    """Tokens of the rendered prompt that went over to the reply."""

    @property
    def is_cut(self) -> bool:
        return bool(self.prompt_cut or self.reply_cut)

    @property
    def length(self) -> int:
        """Tokens of the sequence."""
        return len(self.prompt) + len(self.reply)


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
    boundary_moved: int = 0
    """Tokens of the rendered prompt that went over to the replies."""

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
    return _encode_chats(tokenizer, [messages], [])[0]


def encode_conversation(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> list[int]:
    """Token ids of a finished conversation, as a reward model reads it."""
    return _encode_chats(tokenizer, [], [messages])[0]


def encode_reply(
    tokenizer: PreTrainedTokenizerBase, prompt: Messages, reply: Messages, max_length: int, max_prompt_length: int
) -> EncodedReply:
    """Encodes a prompt with one reply into at most ``max_length`` tokens, cut as :func:`encode_pair` cuts.

    Raises :class:`UnusablePairError` with code ``empty_prompt``, ``empty_side``, ``template_refused`` or
    ``prompt_fills_length``.
    """
    _require_sides(prompt, {"The reply": reply})
    return _encode_sides(tokenizer, prompt, [reply], max_length, max_prompt_length)[0]


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

    Raises :class:`UnusablePairError` with code ``empty_prompt``, ``empty_side``, ``identical_sides``,
    ``template_refused``, ``prompt_fills_length`` or ``identical_when_cut``.
    """
    _require_sides(prompt, {"The chosen reply": chosen, "The rejected reply": rejected})
    if [dict(message) for message in chosen] == [dict(message) for message in rejected]:
        raise UnusablePairError("identical_sides", "The two replies are the same.")
    left, right = _encode_sides(tokenizer, prompt, [chosen, rejected], max_length, max_prompt_length)
    if left.reply == right.reply:
        if left.reply_cut or right.reply_cut:
            raise UnusablePairError("identical_when_cut", f"Within {max_length} tokens the two replies are the same.")
        raise UnusablePairError("identical_sides", "The chat template renders the two replies alike.")
    return EncodedPair(
        prompt=left.prompt,
        chosen=left.reply,
        rejected=right.reply,
        prompt_cut=left.prompt_cut,
        chosen_cut=left.reply_cut,
        rejected_cut=right.reply_cut,
        boundary_moved=left.boundary_moved,
    )


def _encode_sides(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Messages,
    sides: Sequence[Messages],
    max_length: int,
    max_prompt_length: int,
) -> list[EncodedReply]:
    """Each of the sides after one and the same prompt."""
    prompt_ids, *whole = _encode_chats(tokenizer, [prompt], [[*prompt, *side] for side in sides])
    boundary = min(_common_prefix_length(prompt_ids, ids) for ids in whole)
    replies = [ids[boundary:] for ids in whole]
    if not all(replies):
        raise UnusablePairError("empty_side", "A reply renders to no tokens.")

    longest = max(map(len, replies))
    kept = prompt_ids[:boundary]
    if boundary + longest > max_length:
        kept = _keep_end(kept, max(max_prompt_length, max_length - longest), tokenizer.bos_token_id)
    room = max_length - len(kept)
    if room <= 0:
        raise UnusablePairError("prompt_fills_length", f"The prompt alone fills the {max_length} tokens.")
    return [
        EncodedReply(
            prompt=kept,
            reply=reply[:room],
            prompt_cut=boundary - len(kept),
            reply_cut=max(0, len(reply) - room),
            boundary_moved=len(prompt_ids) - boundary,
        )
        for reply in replies
    ]


def _require_sides(prompt: Messages, sides: Mapping[str, Messages]) -> None:
    if not prompt:
        raise UnusablePairError("empty_prompt", "The prompt has no messages.")
    for name, side in sides.items():
        if not side or not side[-1]["content"].strip():
            raise UnusablePairError("empty_side", f"{name} is empty.")


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


def _encode_chats(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Messages], finished: Sequence[Messages]
) -> list[list[int]]:
    """Token ids of prompts, then of finished conversations; what they all begin with is tokenized once."""
    control = find_control_tokens(tokenizer)
    chats = [*prompts, *finished]
    mark = control.choose_mark(chats)
    if mark:
        chats = [control.cut(messages, mark) for messages in chats]
    texts = [
        render_chat(tokenizer, messages, generation_prompt=number < len(prompts))
        for number, messages in enumerate(chats)
    ]
    if mark:
        return [_encode_pieces(tokenizer, text.split(mark)) for text in texts]
    if len(texts) == 1:
        return [encode_text(tokenizer, texts[0])]
    start = control.find_shared_start(texts)
    parts = [texts[0][:start], *(text[start:] for text in texts)]
    head, *tails = tokenizer(parts, add_special_tokens=False, verbose=False)["input_ids"]
    return [head + tail for tail in tails]


def _encode_pieces(tokenizer: PreTrainedTokenizerBase, pieces: Sequence[str]) -> list[int]:
    """Token ids of a text that was cut into pieces.

    Some tokenizers put a space before a text's first word. The later pieces, which begin inside a word, must not get
    one: they are tokenized after a line feed, which is then taken off.
    """
    ids = encode_text(tokenizer, pieces[0])
    lead = encode_text(tokenizer, "\n")
    for piece in pieces[1:]:
        led = encode_text(tokenizer, "\n" + piece)
        ids += led[len(lead) :] if led[: len(lead)] == lead else encode_text(tokenizer, piece)
    return ids
