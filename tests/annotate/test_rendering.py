"""What people and models wrote, shown safely and completely."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.rendering import render_text, show_plainly

ALLOWED = {
    *("p", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "pre", "table", "thead", "tbody", "tr", "th", "td"),
    *("strong", "em", "s", "code", "br", "hr", "a", "span"),
}


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        "<style>*{display:none}</style>",
        "<iframe src=//example.com></iframe>",
        "<form action=/accounts/logout/><button>Next</button></form>",
        "[click](javascript:alert(1))",
        "[click](JaVaScRiPt&#58;alert(1))",
        "[click](data:text/html;base64,PHNjcmlwdD4=)",
        "[click](vbscript:x)",
        "<javascript:alert(1)>",
        "![x](javascript:alert(1))",
        '[x](https://example.com "onmouseover=alert(1)")',
        "```<img src=x onerror=alert(1)>\ncode\n```",
        '<a href="#" hx-get="/people/" hx-trigger="load">x</a>',
        "<!-- hidden -->",
        "<math><mtext></mtext></math>",
        "`<b>`",
        "&lt;script&gt;",
    ],
)
def test_no_attack_becomes_markup(attack: str) -> None:
    html = render_text(attack)
    assert not re.search(r"<[^>]*\s(on\w+|style|hx-[\w-]+|src)\s*=", html)
    assert not re.search(r'<[^>]*href="(?!https?:|mailto:)', html)
    assert {tag.lower() for tag in re.findall(r"<\s*/?\s*([a-zA-Z][\w-]*)", html)} <= ALLOWED


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.text(alphabet=st.sampled_from(list("<>\"'&/=[]()!`*_~|#-+:.\n\t\\ ax1\u202e\u200b\u05d0가")), max_size=80))
def test_no_text_leaves_the_allowlist(text: str) -> None:
    html = render_text(text)
    assert set(re.findall(r"</?([a-zA-Z][\w-]*)", html)) <= ALLOWED
    assert "\u202e" not in html
    assert "\u200b" not in html
    # Every letter that was written is there to be read.
    words = re.sub(r"<[^>]*>", "", html)
    for letter in "ax가\u05d0":
        assert words.count(letter) >= min(text.count(letter), 1)


def test_a_picture_is_words_and_never_fetched() -> None:
    html = render_text("![a cat](https://example.com/cat.png)")
    assert "<img" not in html
    assert "Picture: a cat (https://example.com/cat.png)" in html


def test_links_give_nothing_away() -> None:
    html = render_text("See [this](https://example.com/) and www.example.org")
    assert html.count('rel="noopener noreferrer nofollow ugc"') == 2
    assert html.count('target="_blank"') == 2


def test_each_block_finds_its_own_direction() -> None:
    html = render_text("مرحبا\n\n- one\n- שתיים\n\n> quote\n\n# Title\n\n|a|\n|-|\n|b|\n\n```\ncode\n```")
    for tag in ("p", "ul", "li", "blockquote", "h3", "table", "pre"):
        assert re.search(rf'<{tag}[^>]* dir="auto"', html), tag


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("a\u202eb", "U+202E"),
        ("a\u200bb", "U+200B"),
        ("a\u2066b", "U+2066"),
        ("`a\u202eb`", "U+202E"),
        ("```\na\u202eb\n```", "U+202E"),
        ("    a\u202eb", "U+202E"),
        ("![a\u202eb](https://example.com)", "U+202E"),
        ("a\U000e0041b", "U+E0041"),
        ("a\u00adb", "U+00AD"),
        ("a\x1bb", "U+001B"),
        ("a\ufeffb", "U+FEFF"),
        ("a\u200db", "U+200D"),
        ("a\u2028b", "U+2028"),
        ("&#x202E;", "U+202E"),
    ],
)
def test_characters_that_hide_are_marked(text: str, mark: str) -> None:
    for html in (render_text(text), show_plainly(text)) if "&" not in text else (render_text(text),):
        assert f">{mark}</span>" in html


@pytest.mark.parametrize("text", ["می‌خواهم", "👨‍👩‍👧", "क्‍ष", "❤️", "한국어", "עברית", "tab\there"])
def test_ordinary_spelling_has_no_marks(text: str) -> None:
    assert "hidden-mark" not in render_text(text)
    assert show_plainly(text) == text


@pytest.mark.parametrize(
    "text",
    [
        ">" * 5000 + " deep",
        "- " * 300 + "deep",
        "[1]: https://example.com 'deep'",
        "```deep\ncode\n```",
        "<!-- deep -->",
        "<deep>",
        "[x][deep]",
    ],
)
def test_nothing_written_is_left_out(text: str) -> None:
    assert "deep" in render_text(text)


def test_single_line_breaks_stay() -> None:
    assert render_text("one\ntwo").count("<br>") == 1


def test_titles_stand_below_those_of_the_page() -> None:
    html = render_text("# One\n\n## Two\n\n###### Six\n\nSetext\n===")
    assert re.findall(r"<(h\d)", html) == ["h3", "h4", "h6", "h3"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text", ["[" * 60_000, "*a " * 20_000, "`" * 60_000, "![[" * 20_000, "_a__" * 15_000, "<a " * 20_000, "a." * 30_000]
)
def test_hostile_text_takes_no_long_time(text: str) -> None:
    assert render_text(text)
