"""Text of models and datasets made safe to show. The only way by which such text reaches a page as markup.

Markdown, never raw HTML, goes through an allowlist. Nothing is fetched: a picture is shown as its words and address.
Characters that hide or reorder text are shown as marks, so that what a labeler sees is what a model would read. The
stored text stays as it is, to the byte.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import nh3
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

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

_JOINERS = "\u200c\u200d"
"""Part of ordinary spelling in Arabic and Indic scripts and of many emoji; a hiding place elsewhere."""


def render_text(text: str) -> SafeString:
    """Markdown as safe HTML: each block finds its own direction, single line breaks stay.

    Nothing that was written is left out: text nested deeper than the parser follows is shown to the letter instead.
    """
    tokens = _markdown.parse(text)
    if any(token.level >= _MAX_NESTING - 1 for token in tokens):
        return mark_safe(f'<pre dir="auto">{_mark_hidden(text)}</pre>')  # noqa: S308 -- escaped in _mark_hidden
    html = nh3.clean(
        _markdown.renderer.render(tokens, _markdown.options, {}),
        tags={*_BLOCKS, *_WITHIN},
        attributes={"a": {"href", "target"}, "ol": {"start"}, "span": {"class", "title"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow ugc",
        set_tag_attribute_values={tag: {"dir": "auto"} for tag in _BLOCKS} | {"a": {"target": "_blank"}},
    )
    return mark_safe(html)  # noqa: S308 -- cleaned above


def show_plainly(text: str) -> SafeString:
    """Text to the letter, escaped, with hiding characters as marks; for titles, cells and code."""
    return mark_safe(_mark_hidden(text))  # noqa: S308 -- escaped in _mark_hidden


def _mark_hidden(text: str) -> str:
    """Escapes text and puts a mark in the place of each character that cannot be seen."""
    pieces, end = [], 0
    for found in _HIDING.finditer(text):
        if _belongs_to_spelling(text, found.start()):
            continue
        pieces += [escape(text[end : found.start()]), _draw_mark(found.group())]
        end = found.end()
    return "".join([*pieces, escape(text[end:])])


def _draw_mark(character: str) -> str:
    name = unicodedata.name(character, _("control character"))
    code = f"U+{ord(character):04X}"
    return f'<span class="hidden-mark" title="{escape(name)}">{code}</span>'


def _belongs_to_spelling(text: str, place: int) -> bool:
    """A joiner between two characters that are not of the Latin kind, variation selectors aside."""
    if text[place] not in _JOINERS or place == 0:
        return False
    before, after = text[place - 1], text[place + 1 : place + 2]
    return all(part and ord(part) >= 0x0590 and unicodedata.category(part) != "Cf" for part in (before, after))


class _Renderer(RendererHTML):
    """Markdown-it's own, but hidden characters are marked wherever text is written, and pictures are words."""

    def text(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return _mark_hidden(tokens[idx].content)

    def code_inline(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f"<code>{_mark_hidden(tokens[idx].content)}</code>"

    def code_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f"<pre><code>{_mark_hidden(tokens[idx].content)}</code></pre>\n"

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        label = tokens[idx].info.strip()
        caption = f'<span class="code-label">{_mark_hidden(label)}</span>' if label else ""
        return f"<pre>{caption}<code>{_mark_hidden(tokens[idx].content)}</code></pre>\n"

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


_markdown = MarkdownIt("gfm-like", {"html": False, "breaks": True, "maxNesting": _MAX_NESTING}, renderer_cls=_Renderer)
# A definition such as "[1]: https://..." would vanish from the page; so it stays text.
_markdown.disable("reference")
