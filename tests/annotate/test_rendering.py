"""What people and models wrote, shown safely and completely."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate import math_text
from annotate.code_text import LANGUAGES, MAX_LENGTH, split_code
from annotate.rendering import render_text, show_plainly

ALLOWED = math_text.TAGS | {
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
        r"$\text{<script>alert(1)</script>}$",
        r"\(\href{javascript:alert(1)}{x}\)",
        r"$$\style{position:fixed}{x}$$",
        r"$\class{a}{x} \mathrm{<img src=x onerror=alert(1)>}$",
        '$"><img src=x onerror=alert(1)>$',
        "```html\n<script>alert(1)</script>\n```",
        "```python\n'<img src=x onerror=alert(1)>'\n```",
    ],
)
def test_no_attack_becomes_markup(attack: str) -> None:
    html = render_text(attack)
    attributes = re.sub(r'"[^"]*"', "", html)  # without their values, in which a quotation mark is always escaped
    assert not re.search(r"<[^>]*\s(on\w+|style|hx-[\w-]+|src)\s*=", attributes)
    assert not re.search(r'<[^>]*href="(?!https?:|mailto:)', html)
    assert {tag.lower() for tag in re.findall(r"<\s*/?\s*([a-zA-Z][\w-]*)", html)} <= ALLOWED


@settings(max_examples=300, derandomize=True, database=None)
@given(
    st.text(alphabet=st.sampled_from(list("<>\"'&/=[]()!`*_~|#-+:.\n\t\\ ax1$%{}^\u202e\u200b\u05d0가")), max_size=80)
)
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
        ("a\u202eb", "RLO"),
        ("a\u200bb", "ZWSP"),
        ("a\u2066b", "LRI"),
        ("`a\u202eb`", "RLO"),
        ("```\na\u202eb\n```", "RLO"),
        ("    a\u202eb", "RLO"),
        ("![a\u202eb](https://example.com)", "RLO"),
        ("a\U000e0041b", "U+E0041"),
        ("a\u00adb", "SHY"),
        ("a\x1bb", "U+001B"),
        ("a\ufeffb", "BOM"),
        ("a\u200db", "ZWJ"),
        ("a\u2028b", "U+2028"),
        ("&#x202E;", "RLO"),
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
        "```python\n# deep\n```",
        "$x % deep\n$",
        r"$\phantom{deep}$",
        r"\(\color{white}deep\)",
        r"$$\text{<deep>}$$",
        r"\[x\label{deep}\]",
        "$$ x $$ deep",
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
    "text",
    [
        *("[" * 60_000, "*a " * 20_000, "`" * 60_000, "![[" * 20_000, "_a__" * 15_000, "<a " * 20_000, "a." * 30_000),
        *("$" * 60_000, "$a" * 30_000, "\\(" * 30_000, "$$\n" * 20_000, "\\[x\n" * 15_000, "a \t" * 20_000 + "b"),
        *("$" + "{" * 900 + "}" * 90 + "$", "$" + "\\sqrt" * 190 + "x$", "$" + "x^{" * 300 + "}" * 90 + "$"),
    ],
)
def test_hostile_text_takes_no_long_time(text: str) -> None:
    assert render_text(text)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("Euler: $e^{i\\pi} + 1 = 0$.", "<msup>"),
        (r"So \(x \le 5\) holds", "<mo>≤</mo>"),
        ("$$\n\\frac{a}{b}\n= c\n- d\n$$", "<mfrac>"),
        ("\\[\n\\sum_{i=1}^n i\n\\]", "<munderover>"),
        ("- item $x$ and $y$", "<mi>y</mi>"),
        (r"$$\begin{aligned} a &= b \\ &+ c \end{aligned}$$", "<mtable>"),
        ("a $5$ b", "<mn>5</mn>"),
    ],
)
def test_formulas_are_drawn_with_their_source_at_hand(text: str, part: str) -> None:
    html = render_text(text)
    assert "<math" in html
    assert part in html
    assert 'class="formula" title="' in html
    assert "onerror" not in html


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5, and $10 with a lid.",
        "Between US$ 5 and $ 6",
        "$HOME and $PATH are set",
        "a \\$x\\$ b",
        "`$x$`",
        "    $x$",
        "```\n$$x$$\n```",
        "$$",
        "\\[ \\]",
        "pay $5 or so, in total $",
    ],
)
def test_money_and_code_are_no_formulas(text: str) -> None:
    assert "<math" not in render_text(text)


@pytest.mark.parametrize("text", ["$x^$", r"$a^b^c$", "$" + "x+" * 600 + "$", "$a\u200bb$", r"$\newcommand{\x}{\x}\x$"])
def test_a_formula_that_cannot_be_drawn_is_its_source(text: str) -> None:
    html = render_text(text)
    assert "<math" not in html
    assert re.sub(r"<[^>]*>", "", html).strip().startswith("$" + text[1])


def test_code_is_coloured_and_complete() -> None:
    html = render_text("```python\ndef boil(minutes=6):  # soft\n    return 'egg'\n```")
    for name, word in (("keyword", "def"), ("name", "boil"), ("number", "6"), ("comment", "# soft"), ("string", "egg")):
        assert re.search(rf'<span class="hl-{name}">[^<]*{word}', html), name
    assert "hl-" not in render_text("```\ndef boil()\n```")
    assert "hl-" not in render_text("```klingon\ndef boil()\n```")


@settings(max_examples=200, derandomize=True, database=None)
@given(
    st.text(alphabet=st.sampled_from(list("ab(){}[]<>\"'`#/*-\\\n\r\t =:;$%\ufeff가")), max_size=60),
    st.sampled_from(sorted(LANGUAGES)),
)
def test_colours_lose_no_character(code: str, language: str) -> None:
    assert "".join(part for part, _name in split_code(code, language)) == code


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", ["(", "<!--"])
def test_hostile_code_takes_no_long_time(unit: str) -> None:
    """Lexers of such languages take seconds for it, or minutes; each is given up after MAX_SECONDS."""
    code = unit * (MAX_LENGTH // len(unit))
    for language in ("c", "html", "julia", "python", "swift"):
        assert "".join(part for part, _name in split_code(code, language)) == code


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("a\u00a0b", ["NO-BREAK SPACE"]),
        ("a\u202fb\u2003c", ["NARROW NO-BREAK SPACE", "EM SPACE"]),
        ("one  \ntwo ", ["Spaces at the end of the line"] * 2),
        ("- one \n- two\n\n> three\t\n", ["Spaces at the end of the line"] * 2),
        ("```\none \n\n two\n```", ["Spaces at the end of the line"]),
        ("```python\nx = 1 \n\ny = 2\n```", ["Spaces at the end of the line"]),
        ("# One  \n\nTwo \n===\n\nThree\n--- \n", ["Spaces at the end of the line"] * 2),
        ("## One\u00a0two # \t\n", ["NO-BREAK SPACE", "Spaces at the end of the line"]),
        (
            "| a | b |  \n|-|-| \n| c\u2003| d\n| e | f | \t\n",
            ["Spaces at the end of the line", "EM SPACE", "Spaces at the end of the line"],
        ),
        ("\u00a0a\u2003\n\n# \u00a0b\u00a0\n", ["NO-BREAK SPACE", "EM SPACE", "NO-BREAK SPACE", "NO-BREAK SPACE"]),
        ("> - | a\u00a0 | b |\n>   |-|-|\n>   | a\\|b\u2003 | \u00a0c\u00a0\n", ["NO-BREAK SPACE"] * 3),
        ("# a\n\n| b  |  c |\n|-|-|\n| d | e |\n", []),
        ("a *b* c `d` e\n\nf\u3000g\n", []),
    ],
)
def test_spaces_that_mislead_are_framed_and_stay(text: str, marks: list[str]) -> None:
    assert re.findall(r'class="space-mark" title="([^"]*)"', render_text(text)) == marks
