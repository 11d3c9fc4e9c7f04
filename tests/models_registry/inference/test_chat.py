"""Conversations become tokens in one way, whatever is done with them afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_registry.inference.chat import (
    EncodedPair,
    UnusablePairError,
    encode_conversation,
    encode_pair,
    encode_prompt,
    encode_text,
    ensure_chat_template,
)
from tests.tiny_models import train_tiny_tokenizer

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
TOKENIZER = train_tiny_tokenizer()


def reply(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def encode(chosen: str, rejected: str, max_length: int = 512, max_prompt_length: int = 256) -> EncodedPair:
    return encode_pair(TOKENIZER, QUESTION, reply(chosen), reply(rejected), max_length, max_prompt_length)


def test_pair_is_the_rendered_conversation_split_where_the_reply_begins() -> None:
    pair = encode("Paris.", "I do not know.")
    assert TOKENIZER.decode(pair.prompt) == (
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert TOKENIZER.decode(pair.chosen) == "Paris.<|im_end|>\n"
    assert pair.prompt == encode_prompt(TOKENIZER, QUESTION)
    assert pair.prompt + pair.rejected == encode_conversation(TOKENIZER, [*QUESTION, *reply("I do not know.")])
    assert not pair.is_cut


def test_turn_end_and_start_come_once() -> None:
    pair = encode("Paris.", "Rome.")
    ids = pair.prompt + pair.chosen
    assert ids.count(TOKENIZER.eos_token_id) == 2  # of the question and of the reply
    assert ids.count(TOKENIZER.bos_token_id) == 2  # this template starts each turn with it


text = st.text(st.characters(codec="utf-8", exclude_characters="<|>"), min_size=1, max_size=40)


@given(chosen=text, rejected=text, max_length=st.integers(4, 80), data=st.data())
def test_pair_keeps_the_end_of_the_prompt_and_the_start_of_the_replies(
    chosen: str, rejected: str, max_length: int, data: st.DataObject
) -> None:
    max_prompt = data.draw(st.integers(1, max_length - 1))
    try:
        whole = encode(chosen, rejected, 10_000)
        pair = encode(chosen, rejected, max_length, max_prompt)
    except UnusablePairError as error:
        assert error.code in {"empty_side", "identical_sides", "identical_when_cut"}
        return
    assert pair.length <= max_length
    assert len(pair.prompt) == len(whole.prompt) - pair.prompt_cut
    assert pair.prompt[1:] == whole.prompt[len(whole.prompt) - len(pair.prompt) + 1 :]
    assert pair.prompt[0] in (whole.prompt[pair.prompt_cut], TOKENIZER.bos_token_id)
    assert pair.chosen == whole.chosen[: len(whole.chosen) - pair.chosen_cut]
    assert pair.rejected == whole.rejected[: len(whole.rejected) - pair.rejected_cut]
    if pair.chosen_cut or pair.rejected_cut:
        assert pair.length == max_length and len(pair.prompt) <= max_prompt  # nothing is cut without need


def test_reply_that_merges_with_the_prompt_moves_the_boundary_for_both_sides() -> None:
    """A tokenizer with a token for two line feeds joins the template's with the reply's own."""
    from tokenizers import AddedToken

    tokenizer = train_tiny_tokenizer()
    tokenizer.add_tokens([AddedToken("\n\n", normalized=False)])
    pair = encode_pair(tokenizer, QUESTION, reply("\nParis."), reply("Rome."), 512, 256)
    assert tokenizer.decode(pair.chosen) == "\n\nParis.<|im_end|>\n"
    assert tokenizer.decode(pair.rejected) == "\nRome.<|im_end|>\n"
    assert tokenizer.decode(pair.prompt).endswith("assistant")


@pytest.mark.parametrize(
    ("chosen", "rejected", "lengths", "code"),
    [
        ("", "no", (512, 256), "empty_side"),
        ("yes", " \n\t", (512, 256), "empty_side"),
        ("same", "same", (512, 256), "identical_sides"),
        ("a long reply that ends in yes", "a long reply that ends in no", (12, 8), "identical_when_cut"),
        ("yes", "no", (12, 12), "prompt_fills_length"),
    ],
)
def test_unusable_pair_has_a_reason(chosen: str, rejected: str, lengths: tuple[int, int], code: str) -> None:
    with pytest.raises(UnusablePairError) as caught:
        encode(chosen, rejected, *lengths)
    assert caught.value.code == code


def test_refusal_of_the_template_is_a_reason() -> None:
    tokenizer = train_tiny_tokenizer(
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}x"
    )
    with pytest.raises(UnusablePairError, match="no system") as caught:
        encode_prompt(tokenizer, [{"role": "system", "content": "Be brief."}])
    assert caught.value.code == "template_refused"


def test_tokenizer_without_template_gets_the_plain_one() -> None:
    tokenizer = train_tiny_tokenizer(None)
    assert ensure_chat_template(tokenizer)
    assert not ensure_chat_template(tokenizer)
    conversation = [{"role": "system", "content": "Be brief."}, *QUESTION, *reply("Paris."), *QUESTION]
    assert tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True) == (
        "Be brief.\n\nHuman: What is the capital of France?\n\nAssistant: Paris.<|im_end|>"
        "\n\nHuman: What is the capital of France?\n\nAssistant:"
    )


def test_plain_template_does_without_eos() -> None:
    tokenizer = train_tiny_tokenizer(None)
    tokenizer.eos_token = None
    ensure_chat_template(tokenizer)
    ids = encode_conversation(tokenizer, [*QUESTION, *reply("Paris.")])
    assert tokenizer.decode(ids).endswith("\n\nAssistant: Paris.")


def test_plain_template_begins_with_bos_exactly_where_the_tokenizer_would() -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = train_tiny_tokenizer(None)
    backend: Any = tokenizer.backend_tokenizer
    bos = tokenizer.bos_token
    backend.post_processor = TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)])
    ensure_chat_template(tokenizer)
    ids = encode_prompt(tokenizer, QUESTION)
    assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1
    long_reply = "word " * 40
    pair = encode_pair(tokenizer, QUESTION, reply(long_reply), reply("no"), 24, 8)
    assert pair.prompt[0] == tokenizer.bos_token_id and len(pair.prompt) == 8
    assert encode_text(tokenizer, "a")[0] != tokenizer.bos_token_id
