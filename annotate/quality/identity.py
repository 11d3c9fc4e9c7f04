"""Identity leaks: a response that says which model it is, or who made it.

A labeler who knows whose reply they read does not judge blindly. Mere mention is no leak: anybody may tell facts about
OpenAI. What counts is that the speaker says it of itself ("I am Claude", "As ChatGPT, I", "I was trained by OpenAI").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice

from annotate.quality.identity_words import MAKERS, MODELS, ORDINARY_MODELS, PHRASES, SENTENCES, Phrases

_BREAK = r"[^.!?\n]"
_GAP = r"[\s,\-–]+"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n")
_WORD = re.compile("[A-Za-z]+")
_MOST_SENTENCES, _LONGEST_SENTENCE = 40, 600
"""How many sentences with a name are looked at, and how many characters of each."""
_NEAR = 20
"""Characters kept on each side of what was found, for those who look at it."""


class IdentityFinder:
    """Looks for self-identification by well-known names and ``more_models``, such as those of a registry.

    Nearly every text is done with when its words have been looked up, some microseconds; the patterns run over
    sentences with a name alone. Gaps, sentences and their number are bounded, so that no text can make them slow.
    """

    def __init__(self, more_models: Iterable[str] = ()) -> None:
        models = (*MODELS, *_find_distinct(more_models))
        self._patterns = _build_patterns(models)
        any_case = _list_spellings(name.lower() for name in models)
        own_case = _list_spellings((*MAKERS, *ORDINARY_MODELS))
        self._any_case, self._own_case = _drop_holders(any_case), _drop_holders(own_case)
        spelled = any_case | own_case
        self._words = {max(words, key=len).lower() for name in spelled if (words := _WORD.findall(name))}
        self._wordless = [name for name in spelled if not _WORD.search(name)]

    def find(self, text: str) -> str:
        """The words by which the text identifies its author, or nothing."""
        if not self._may_name(text):
            return ""
        sentences = (sentence for sentence in _SENTENCE_END.split(text) if self._may_name(sentence))
        for sentence in islice(sentences, _MOST_SENTENCES):
            for pattern in self._patterns:
                if found := pattern.search(sentence, 0, _LONGEST_SENTENCE):
                    return " ".join(sentence[found.start() : found.end() + _NEAR].split())
        return ""

    def _may_name(self, text: str) -> bool:
        """Whether a name may stand in the text."""
        lowered = text.lower()
        has_word = not self._words.isdisjoint(_WORD.findall(lowered))
        if not has_word and (text.isascii() or not _holds(text, self._wordless)):
            return False
        return _holds(lowered, self._any_case) or _holds(text, self._own_case)


@lru_cache(maxsize=8)
def get_finder(more_models: tuple[str, ...] = ()) -> IdentityFinder:
    """The same finder for the same names: its patterns take some milliseconds to build."""
    return IdentityFinder(more_models)


def _find_distinct(names: Iterable[str]) -> list[str]:
    """Names of a registry, whole and their first part, where they cannot be a word: "judge" says nothing."""
    parts = {part for name in names for part in (name, re.split("[-_/ ]", name)[0])}
    return sorted(part for part in parts if len(part) >= 4 and re.search(r"[a-zA-Z].*\d|\d.*[a-zA-Z]|.[A-Z]", part))


def _list_spellings(names: Iterable[str]) -> set[str]:
    """The names however their words are joined."""
    return {joint.join(re.split("[-_ ]", name)) for name in names for joint in ("", " ", "-", "_")}


def _drop_holders(names: set[str]) -> list[str]:
    """Without those that hold another: where they stand, it does."""
    return sorted(name for name in names if not any(other in name for other in names if other != name))


def _holds(text: str, names: list[str]) -> bool:
    return any(name in text for name in names)


def _join(names: Iterable[str]) -> str:
    """Any of the names, longest first, with or without a version behind it."""
    known = sorted(set(names), key=lambda name: (-len(name), name))
    spelled = (r"[-_ ]?".join(map(re.escape, re.split(r"[-_ ]", name))) for name in known)
    return rf"(?<![A-Za-z0-9])(?:{'|'.join(spelled)})(?![A-Za-z])(?:[- ]?v?\d[\w.\-]*)?"


def _build_patterns(models: tuple[str, ...]) -> list[re.Pattern[str]]:
    sure = _join(models)
    maker = rf"(?:{_join(MAKERS)})(?!-[a-z])"
    # Followed by another capital word it is a person: Claude Monet, Alexa Chung.
    ordinary = rf"(?-i:{_join(ORDINARY_MODELS)}(?!['’]s| [A-Z][a-z]))"
    model = f"(?:{sure}|{ordinary})"
    texts = [text.format(model=model, maker=maker) for text in SENTENCES]
    for phrases in PHRASES:
        texts += _build_spaced(phrases, sure, ordinary, maker)
    texts.append(rf"\A\W{{0,4}}{sure}\s?:")
    return [re.compile(text, re.IGNORECASE) for text in texts]


def _build_spaced(words: Phrases, sure: str, ordinary: str, maker: str) -> list[str]:
    """The ways in which one language says it; see Phrases."""
    # Within somebody's quoted words it is not the author who speaks.
    am = rf"(?<![\w\"“‘'’«„])(?:{words.am}){_GAP}"
    kind, noun = rf"(?:{words.kind})", rf"(?:{words.noun})"
    any_words = rf"(?:(?:{kind}|{noun}){_GAP}){{0,14}}?"
    thing = rf"{any_words}{noun}{_GAP}{any_words}"
    aside = rf"(?:(?:that|which|who|qui|que|das|der|designed|intended|here|conçu|diseñado)\b{_BREAK}{{0,80}}?)?"
    made = rf"{aside}(?:{words.made}){_GAP}(?:(?:{words.team})\s?){{0,6}}"
    no_job = r"(?![- ]+(?:research|engineer|user|expert|fan|scien|develop|enthus|consult|special|lead|team|product))"
    ends_as = rf"(?:{_BREAK}{{0,60}}?[,\s]|[,\s])(?:{words.me})\b"
    begins = r"(?:\A\W{0,3}|[.!?\n:]\s*)"
    return [
        rf"{am}{any_words}{sure}",
        rf"{am}(?:(?:just|simply|actually|called|named|simplement|nur|solo){_GAP})?{ordinary}",
        rf"{am}{thing}{ordinary}",
        rf"{am}{any_words}{maker}(?:['’]s)?{_GAP}{any_words}{noun}\b{no_job}",
        rf"{am}{any_words}{made}(?:{sure}|{ordinary}|{maker}){words.made_after}",
        rf"{am}{thing}(?:from|by|of|de|d['’]|von)\s?(?:(?:{words.team})\s?){{0,4}}{maker}",
        rf"{begins}(?:{words.role}){_GAP}(?:{thing}{made}|{thing})?(?:{sure}|{ordinary}){ends_as}",
        rf"\b(?:{words.role}){_GAP}{thing}{made}{maker}{words.made_after}{ends_as}",
    ]
