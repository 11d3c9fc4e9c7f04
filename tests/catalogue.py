"""What the tests of both languages read, without gettext: the texts marked in the sources, and the Korean catalogue."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parents[1]
PO = ROOT / "locale/ko/LC_MESSAGES/django.po"
ROOMS = ("annotate", "config", "models_registry", "training")

_FIELD = re.compile(r'(msgctxt|msgid_plural|msgid|msgstr)(?:\[0\])? (".*")')
_FUNCTIONS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy"}
_TEXT = r"""u?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_CALL = re.compile(rf"\b(n?)(p?)gettext\({_TEXT}(?:, ?{_TEXT})?", re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """A text of the catalogue; ``key`` is what the compiled file looks it up by."""

    msgid: str
    plural: str
    msgstr: str
    context: str
    is_fuzzy: bool

    @property
    def key(self) -> str:
        return f"{self.context}\x04{self.msgid}" if self.context else self.msgid


@cache
def read_po() -> tuple[Entry, ...]:
    """Every entry but the header."""
    entries = []
    for block in PO.read_text(encoding="utf-8").split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if found := _FIELD.fullmatch(line):
                name = found[1]
                fields[name] = ast.literal_eval(found[2])
            elif line.startswith('"'):
                fields[name] += ast.literal_eval(line)
        if fields.get("msgid"):
            msgid, plural, msgstr, context = (
                fields.get(part, "") for part in ("msgid", "msgid_plural", "msgstr", "msgctxt")
            )
            is_fuzzy = bool(re.search(r"^#,.*fuzzy", block, re.MULTILINE))
            entries.append(Entry(msgid, plural, msgstr, context, is_fuzzy))
    return tuple(entries)


@cache
def list_marked_texts() -> frozenset[str]:
    """The keys of all texts that Python and templates mark for translation."""
    return frozenset([*_read_python(), *_read_templates()])


def list_sources(*folders: str) -> list[Path]:
    """The Python files below some folders, without migrations and management commands."""
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in files if not {"migrations", "management"} & set(path.parts)]


def _read_python() -> Iterator[str]:
    for path in list_sources(*ROOMS):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield first.value


def _read_templates() -> Iterator[str]:
    for path in sorted(path for end in ("html", "txt") for path in (ROOT / "templates").rglob(f"*.{end}")):
        for found in _CALL.finditer(templatize(path.read_text(encoding="utf-8"))):
            first, second = ast.literal_eval(found[3]), ast.literal_eval(found[4] or "''")
            yield f"{first}\x04{second}" if found[2] else first
