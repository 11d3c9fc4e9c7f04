"""Code in colours: Pygments names the kinds of its parts, one class each. annotate.rendering makes the markup."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Generic, Keyword, Name, Number, Operator, String, _TokenType
from pygments.util import ClassNotFound

MAX_LENGTH = 8_000
"""Characters of code; longer code stays uncoloured, so that no lexer holds a page up."""

MAX_SECONDS = 0.25
"""Looked at between words: many lexers take quadratic time on text made for it. Such code stays uncoloured."""

# fmt: off
LANGUAGES = frozenset({
    "bash", "c", "c++", "cpp", "c#", "cs", "csharp", "css", "diff", "go", "golang", "haskell", "html", "java",
    "javascript", "js", "json", "jsx", "julia", "kotlin", "latex", "lua", "matlab", "perl", "php", "py", "python",
    "python3", "r", "rb", "ruby", "rs", "rust", "sh", "shell", "sql", "swift", "tex", "toml", "ts", "tsx", "typescript",
    "xml", "yaml", "yml", "zsh",
})
# fmt: on
"""Those that language models write; each is tried against hostile text in the tests."""

_CLASSES: dict[_TokenType, str] = {
    Comment: "hl-comment",
    Keyword: "hl-keyword",
    Operator.Word: "hl-keyword",
    Name.Builtin: "hl-name",
    Name.Class: "hl-name",
    Name.Decorator: "hl-name",
    Name.Function: "hl-name",
    Name.Tag: "hl-keyword",
    Name.Attribute: "hl-name",
    Number: "hl-number",
    String: "hl-string",
    Generic.Inserted: "hl-string",
    Generic.Deleted: "hl-comment",
}


def split_code(code: str, language: str) -> Iterator[tuple[str, str]]:
    """Parts of the code in order, each with its class or ""; one part where the language is unknown. Loses nothing."""
    lexer = _find_lexer(language.lower()) if len(code) <= MAX_LENGTH else None
    parts = list(_read_in_time(lexer, code)) if lexer else []
    yield from parts if "".join(text for text, _class in parts) == code else [(code, "")]


def _read_in_time(lexer: Lexer, code: str) -> Iterator[tuple[str, str]]:
    deadline = time.monotonic() + MAX_SECONDS
    for kind, text in lexer.get_tokens(code):
        if time.monotonic() > deadline:
            return
        yield text, _name_class(kind)


@cache
def _find_lexer(language: str) -> Lexer | None:
    if language not in LANGUAGES:
        return None
    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


@cache
def _name_class(kind: _TokenType) -> str:
    return next((_CLASSES[up] for up in reversed(kind.split()) if up in _CLASSES), "")
