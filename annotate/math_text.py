r"""Formulas in Markdown: ``$x$``, ``$$x$$``, ``\(x\)`` and ``\[x\]`` as MathML, without a script.

latex2mathml turns LaTeX into MathML and writes a command that it does not know as its name. What it cannot parse, and
what LaTeX would leave out or draw unseen, is shown as its source: a labeler reads all that was written. The result is
no safe markup yet; annotate.rendering cleans it together with the rest.
"""

from __future__ import annotations

import re

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

TAGS = {
    *("math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "ms", "mfrac", "msqrt", "mroot", "mstyle", "msub", "msup"),
    *("msubsup", "munder", "mover", "munderover", "mmultiscripts", "mprescripts", "mtable", "mtr", "mtd", "menclose"),
}
ATTRIBUTES = {
    "math": {"display"},
    "mo": {"stretchy", "fence", "form", "accent", "minsize", "maxsize"},
    "mi": {"mathvariant"},
    "mspace": {"width"},
    "mfrac": {"linethickness"},
    "mstyle": {"displaystyle", "scriptlevel"},
    "menclose": {"notation"},
}

_MAX_LENGTH = 1000
"""Characters of a formula; a longer one is shown as its source. Bounds time and depth of nesting."""

_MAX_LINES = 40
"""Lines of a formula; bounds the search for its end."""

_DISPLAY = {"$$": "$$", r"\[": r"\]"}
_INLINE = {"$": "$", r"\(": r"\)"}

_LEFT_AS_SOURCE = re.compile(
    r"(?<!\\)%|\\(?:[hv]?phantom|smash|[lrc]lap|math[lrc]lap|[hv]space|kern|mkern|mskip|rule|color|textcolor|pagecolor"
    r"|definecolor|def|let|newcommand|renewcommand|providecommand|href|url|style|class|cssId|unicode|label|ref)(?![a-z])"
)
"""Comments, what is not drawn or drawn elsewhere, definitions."""

_PROSE = re.compile(r"(?=.*\s)(?=.*[^\W\d_]{2})[\w\s.,:;!?'’()–—]*", re.DOTALL)
"""Between two dollar signs: prose and prices, not a formula."""


def add_math(markdown: MarkdownIt) -> None:
    """Makes tokens ``math_inline`` and ``math_block``: ``content`` the LaTeX, ``markup`` the opening mark."""
    markdown.inline.ruler.before("escape", "math_inline", _find_inline)
    markdown.block.ruler.before("fence", "math_block", _find_block, {"alt": ["paragraph", "blockquote", "list"]})


def convert_math(latex: str, *, display: bool) -> str | None:
    """MathML, not yet cleaned; None where the source should be shown instead."""
    if len(latex) > _MAX_LENGTH or _LEFT_AS_SOURCE.search(latex):
        return None
    # The converter does not escape text: what looks like a tag would vanish as one.
    latex = latex.replace("<", r"\lt ")
    latex = re.sub(r"\{(?:aligned|gathered|gather\*?|split|align)\}", "{align*}", latex)
    try:
        return convert(latex, display="block" if display else "inline")
    except Exception:
        return None


def close_mark(opening: str) -> str:
    r"""What ends a formula that begins with one of ``$``, ``$$``, ``\(``, ``\[``."""
    return (_DISPLAY | _INLINE)[opening]


def _find_inline(state: StateInline, silent: bool) -> bool:
    opening = state.src[state.pos : state.pos + 2]
    if opening not in {*_DISPLAY, r"\("}:
        opening = opening[:1]
    if opening not in _DISPLAY and opening not in _INLINE:
        return False
    begin = state.pos + len(opening)
    closing = close_mark(opening)
    # Bounded, so that many openings without an end cost no quadratic time.
    end = state.src.find(closing, begin, min(state.posMax, begin + _MAX_LENGTH))
    content = state.src[begin:end]
    if end < 0 or not content.strip() or (opening == "$" and not _stands_alone(state, content, end)):
        return False
    if not silent:
        token = state.push("math_inline", "math", 0)
        token.content, token.markup = content, opening
    state.pos = end + len(closing)
    return True


def _stands_alone(state: StateInline, content: str, end: int) -> bool:
    """A single dollar sign opens a formula only before a letter or sign, and closes it not before a digit."""
    outside = state.src[state.pos - 1 : state.pos] + state.src[end + 1 : end + 2]
    if content != content.strip() or any(character.isalnum() for character in outside):
        return False
    return not content.endswith("\\") and not _PROSE.fullmatch(content)


def _find_block(state: StateBlock, line: int, end_line: int, silent: bool) -> bool:
    r"""Lines from ``$$`` or ``\[`` to the line that ends with its counterpart; a blank line ends the search."""
    opening = state.src[state.bMarks[line] + state.tShift[line] :][:2] if not state.is_code_block(line) else ""
    if opening not in _DISPLAY:
        return False
    lines: list[str] = []
    for last in range(line, min(end_line, line + _MAX_LINES)):
        text = state.src[state.bMarks[last] + state.tShift[last] : state.eMarks[last]].rstrip()
        if not text or (last > line and state.sCount[last] < state.blkIndent):
            return False
        lines.append(text.removeprefix(opening) if last == line else text)
        if closing_stands := lines[-1].find(close_mark(opening)) + 1:
            break
    else:
        return False
    if closing_stands - 1 != len(lines[-1]) - 2 or not "".join(lines)[:-2].strip():
        return False  # words follow: it is part of a paragraph
    if not silent:
        token = state.push("math_block", "math", 0)
        token.block, token.content, token.markup, token.map = True, "\n".join(lines)[:-2], opening, [line, last + 1]
        state.line = last + 1
    return True
