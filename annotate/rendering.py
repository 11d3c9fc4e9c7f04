"""Text of models and datasets made safe to show. The only way by which such text reaches a page as markup.

Markdown, never raw HTML, goes through an allowlist; formulas become MathML and code gets colours on the way there.
Nothing is fetched: a picture is shown as its words and address. Characters that hide, reorder or only look like a plain
space are shown as marks, so that what a labeler sees is what a model would read. The stored text stays as it is.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

import nh3
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from markdown_it import MarkdownIt
from markdown_it.common.utils import MD_TRIM_CHARS
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from annotate import math_text
from annotate.code_text import split_code

RENDERER_VERSION = 1
"""To be raised with each change of what this module makes of a text; hash_rendering then differs for every pair."""

_BLOCKS = ["p", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "pre", "table"]
_WITHIN = ["strong", "em", "s", "code", "br", "hr", "a", "span", "thead", "tbody", "tr", "th", "td"]
"""These take the direction of the block around them; a table's columns then run the way its text does."""
_LOWER_HEADING_BY = 2
"""A response's own title stands below the page's h1 and the h2 of the response."""

_MAX_NESTING = 20

_HIDING = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Controls, direction marks and overrides, zero-width and other invisible characters, tags."""

_ODD_SPACES = re.compile(r"[\u00a0\u1680\u2000-\u200a\u202f\u205f\u2800]|[ \t]+(?=\n)|[ \t]+\Z")
"""Spaces that only look like one, and those at the end of a line. The wide one of Chinese and Japanese is ordinary."""

_SHORT_NAMES = {
    0x00AD: "SHY", 0x200B: "ZWSP", 0x200C: "ZWNJ", 0x200D: "ZWJ", 0x200E: "LRM", 0x200F: "RLM", 0x061C: "ALM",
    0x202A: "LRE", 0x202B: "RLE", 0x202C: "PDF", 0x202D: "LRO", 0x202E: "RLO", 0x2060: "WJ", 0x2066: "LRI",
    0x2067: "RLI", 0x2068: "FSI", 0x2069: "PDI", 0xFEFF: "BOM",
}  # fmt: skip
"""As Unicode's own charts label them; other characters are marked by their number."""

_JOINERS = "\u200c\u200d"
"""Part of ordinary spelling in Arabic and Indic scripts and of many emoji; a hiding place elsewhere."""

_MARKED = re.compile(f"{_HIDING.pattern}|{_ODD_SPACES.pattern}")


def render_text(text: str) -> SafeString:
    """Markdown as safe HTML: each block finds its own direction, single line breaks stay.

    Nothing that was written is left out: text nested deeper than the parser follows is shown to the letter instead.
    """
    return _render_text(text, get_language())


@lru_cache(maxsize=512)
def _render_text(text: str, language: str | None) -> SafeString:
    """``language`` only tells the remembered ones apart: the names of marks and pictures are translated."""
    tokens = _markdown.parse(text)
    if any(token.level >= _MAX_NESTING - 1 for token in tokens):
        return mark_safe(f'<pre dir="auto">{_mark_hidden(text)}</pre>')  # noqa: S308 -- escaped in _mark_hidden
    html = nh3.clean(
        _markdown.renderer.render(tokens, _markdown.options, {}),
        tags={*_BLOCKS, *_WITHIN, *math_text.TAGS},
        attributes={"a": {"href", "target"}, "ol": {"start"}, "span": {"class", "title"}, **math_text.ATTRIBUTES},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow ugc",
        set_tag_attribute_values={tag: {"dir": "auto"} for tag in _BLOCKS} | {"a": {"target": "_blank"}},
    )
    return mark_safe(html)  # noqa: S308 -- cleaned above


def hash_rendering(turns: Iterable[tuple[str, str]], left: str, right: str) -> str:
    """SHA-256 of what a page shows of a pair in the active language: the markup of all its texts, in order, by role.

    Texts that were drawn lately cost nothing but the hashing: render_text remembers them, and the page draws the same.
    """
    digest = hashlib.sha256(f"renderer {RENDERER_VERSION}".encode())
    for label, text in [*turns, ("left", left), ("right", right)]:
        markup = render_text(text).encode()
        digest.update(f"\n{label} {len(markup)}\n".encode() + markup)
    return digest.hexdigest()


def show_plainly(text: str) -> SafeString:
    """Text to the letter, escaped, with hiding characters as marks; for titles, cells and code."""
    return mark_safe(_mark_hidden(text))  # noqa: S308 -- escaped in _mark_hidden


def _mark_hidden(text: str, *, ends_line: bool = True) -> str:
    """Escapes text and puts a mark in the place of each character that cannot be seen.

    ``ends_line`` is False where more of the same line follows, so that a plain space at the end is nothing to show.
    """
    pieces, end = [], 0
    for found in _MARKED.finditer(text):
        goes_on = not ends_line and found.end() == len(text) and not found.group().strip(" \t")
        if goes_on or _belongs_to_spelling(text, found.start()):
            continue
        pieces += [escape(text[end : found.start()]), _draw_mark(found.group())]
        end = found.end()
    return "".join([*pieces, escape(text[end:])])


def _draw_mark(found: str) -> str:
    """A hidden character becomes its label; a space stays, in a frame, so that the text keeps its width."""
    if _ODD_SPACES.fullmatch(found):
        kind = _("Spaces at the end of the line") if found.strip(" \t") == "" else unicodedata.name(found)
        return f'<span class="space-mark" title="{escape(kind)}">{found}</span>'
    code = f"U+{ord(found):04X}"
    name = unicodedata.name(found, _("control character"))
    label = _SHORT_NAMES.get(ord(found), code)
    title = name if label == code else f"{name} ({code})"
    return f'<span class="hidden-mark" title="{escape(title)}">{label}</span>'


def _belongs_to_spelling(text: str, place: int) -> bool:
    """A joiner between two characters that are not of the Latin kind, variation selectors aside."""
    if text[place] not in _JOINERS or place == 0:
        return False
    before, after = text[place - 1], text[place + 1 : place + 2]
    return all(part and ord(part) >= 0x0590 and unicodedata.category(part) != "Cf" for part in (before, after))


class _Renderer(RendererHTML):
    """Markdown-it's own, but hidden characters are marked wherever text is written, and pictures are words."""

    def text(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        ends_line = idx + 1 == len(tokens) or tokens[idx + 1].type in ("softbreak", "hardbreak")
        return _mark_hidden(tokens[idx].content, ends_line=ends_line)

    def code_inline(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f"<code>{_mark_hidden(tokens[idx].content)}</code>"

    def code_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f"<pre><code>{_mark_hidden(tokens[idx].content)}</code></pre>\n"

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        label = tokens[idx].info.strip()
        caption = f'<span class="code-label">{_mark_hidden(label)}</span>' if label else ""
        return f"<pre>{caption}<code>{_colour(tokens[idx].content, label)}</code></pre>\n"

    def math_inline(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return _draw_formula(tokens[idx], display=tokens[idx].markup in ("$$", r"\["))

    def math_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f"<p>{_draw_formula(tokens[idx], display=True)}</p>\n"

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        token = tokens[idx]
        words = self.renderInlineAsText(token.children, options, env) if token.children else ""
        address = str(token.attrs.get("src", ""))
        label = escape(_("Picture"))
        return f'<span class="picture-words">{label}: {_mark_hidden(words)} ({escape(address)})</span>'

    def heading_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f"<{_lower_heading(tokens[idx].tag)}>"

    def heading_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f"</{_lower_heading(tokens[idx].tag)}>\n"


def _lower_heading(tag: str) -> str:
    return f"h{min(int(tag[1]) + _LOWER_HEADING_BY, 6)}"


def _colour(code: str, label: str) -> str:
    """Code with a class for each kind of word; the label is the fence's, its first word the language."""
    pieces, end = [], len(code)
    place = 0
    for part, name in split_code(code, label.partition(" ")[0]):
        place += len(part)
        # What ends a part ends a line only where the code says so.
        drawn = _mark_hidden(part, ends_line=place == end or code[place] == "\n")
        pieces.append(f'<span class="{name}">{drawn}</span>' if name else drawn)
    return "".join(pieces)


def _draw_formula(token: Token, *, display: bool) -> str:
    """MathML with its source as a title, or the source itself, marks and all."""
    source = f"{token.markup}{token.content}{math_text.close_mark(token.markup)}"
    formula = None if _HIDING.search(token.content) else math_text.convert_math(token.content, display=display)
    if formula is None:
        return f'<span class="formula-source">{_mark_hidden(source)}</span>'
    # Equal LaTeX, and an attribute that no careless reader takes for markup.
    title = escape(source.replace("<", r"\lt ").replace(">", r"\gt "))
    return f'<span class="formula" title="{title}">{formula}</span>'


def _keep_spaces(state: StateInline, silent: bool) -> bool:
    """Markdown-it's own rule for a line's end takes the spaces before it away; they belong to what was written."""
    if state.src[state.pos] != "\n":
        return False
    if not silent:
        state.push("softbreak", "br", 0)
    state.pos += 1
    while state.pos < state.posMax and state.src[state.pos] in " \t":
        state.pos += 1
    return True


def _keep_trimmed(state: StateCore) -> None:
    """Gives paragraphs, headings and cells back what the parser trims: odd spaces at both ends, any that end a line.

    Plain spaces around a cell are how tables are laid out; those behind a row go to its last cell.
    """
    lines = state.src.split("\n")
    place = 0
    for number, token in enumerate(state.tokens):
        if token.type == "tr_open":
            place = 0
        if token.type != "inline" or not token.map:
            continue
        before, after = state.tokens[number - 1], state.tokens[number + 2 : number + 3]
        first, last = lines[token.map[0]], lines[token.map[1] - 1]
        is_cell = before.type in ("th_open", "td_open")
        text, *_more = token.content.split("\n")
        start = first.find(text, place if is_cell else 0)
        if start < 0:
            continue  # a cell with an escaped bar
        place = start + len(text)
        odd = first[len(first[:start].rstrip(MD_TRIM_CHARS)) : start].lstrip(" \t")
        line_end = last[len(last.rstrip(MD_TRIM_CHARS)) :]
        if is_cell:
            behind = first[place : len(first) - len(line_end)]
            cell_end = behind[: len(behind) - len(behind.lstrip(MD_TRIM_CHARS))].rstrip(" \t")
            line_end = cell_end + (line_end if after and after[0].type == "tr_close" else "")
        token.content = odd + token.content + line_end


_markdown = MarkdownIt("gfm-like", {"html": False, "breaks": True, "maxNesting": _MAX_NESTING}, renderer_cls=_Renderer)
# A definition such as "[1]: https://..." would vanish from the page; so it stays text.
_markdown.disable("reference")
_markdown.inline.ruler.at("newline", _keep_spaces)
_markdown.core.ruler.after("block", "keep_trimmed", _keep_trimmed)
math_text.add_math(_markdown)
