"""The Korean catalogue: complete, of one piece with the sources, and compiled."""

from __future__ import annotations

import gettext
import re

from tests.catalogue import PO, Entry, list_marked_texts, read_po

_PLACE = re.compile(r"%(?:\(\w+\))?[sd]|%%|</?[a-z]+[^>]*>")


def test_every_marked_text_is_in_the_catalogue() -> None:
    missing = list_marked_texts() - {entry.key for entry in read_po()}
    assert not missing, f"`make messages`, then translate: {sorted(missing)}"


def test_the_catalogue_holds_nothing_that_nobody_says() -> None:
    left_over = {entry.key for entry in read_po()} - list_marked_texts()
    assert not left_over, f"`make messages` drops: {sorted(left_over)}"


def test_everything_is_translated() -> None:
    """Names of formats stay as they are; a text of words does not."""
    assert [entry.msgid for entry in read_po() if not entry.msgstr or entry.is_fuzzy or _is_english(entry)] == []


def test_places_and_markup_are_kept() -> None:
    """A plural has one Korean form, so every place of the English plural must be in it."""
    broken = [entry.msgid for entry in read_po() if _list_places(entry.msgstr) != _list_places(_say_most(entry))]
    assert broken == []


def test_the_compiled_catalogue_is_the_written_one() -> None:
    with PO.with_suffix(".mo").open("rb") as file:
        compiled = vars(gettext.GNUTranslations(file))["_catalog"]
    written = {(entry.key, 0) if entry.plural else entry.key: entry.msgstr for entry in read_po()}
    compiled.pop("", None)
    assert compiled == written, "`make messages` compiles it anew"


def _is_english(entry: Entry) -> bool:
    return bool(re.search(r"[a-z]{3,} [a-z]{2,}", entry.msgid)) and not re.search("[가-힣]", entry.msgstr)


def _say_most(entry: Entry) -> str:
    return entry.plural or entry.msgid


def _list_places(text: str) -> list[str]:
    return sorted(_PLACE.findall(text))
