"""A token preview's result put into words, figures and stretches of tokens for its page. Everything here is pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from django.contrib.humanize.templatetags.humanize import intcomma
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate import stored_texts
from models_registry.stored_texts import translate_stored
from training import engine_texts
from training.views.curves import Figure
from training.views.outcome import name_part, name_reason, show_percent

TAGS = {"trained": "mark", "cut": "del"}
"""Elements that say to everybody what a stretch is; the others are plain."""
REASONS = (*engine_texts.TEXTS, *stored_texts.TEXTS)


@dataclass(frozen=True)
class Token:
    """One piece of text as it is shown; ``title`` are its ids."""

    text: str
    title: str
    is_control: bool = False
    is_scored: bool = False
    left_out: int = 0


@dataclass(frozen=True)
class Stretch:
    """Tokens in a row of which training does the same."""

    state: str
    label: str
    tag: str
    tokens: list[Token]


@dataclass(frozen=True)
class Part:
    """Prompt, chosen or rejected."""

    name: str
    words: str
    stretches: list[Stretch] = field(default_factory=list)


@dataclass(frozen=True)
class Notice:
    """Something to know before launching."""

    text: str
    is_problem: bool = False
    code: str = ""
    """Text of the data, to be shown to the letter."""


def describe_result(result: Mapping[str, Any], number: int) -> dict[str, Any]:
    """For the template; ``number`` is the example to show, from 1."""
    examples = [*result["examples"], *result["cut_examples"]]
    number = min(max(number, 1), len(examples))
    states = [state for state in ("trained", "masked", "read", "unused", "cut") if state in _list_states(examples)]
    return {
        "figures": _list_figures(result),
        "notices": list(_list_notices(result)),
        "dropped": [_describe_dropped(found) for found in result["dropped"]],
        "lengths": _tabulate_lengths(result["lengths"]),
        "bins": _tabulate_bins(result["lengths"]),
        "longer_than": [(int(limit), rows) for limit, rows in sorted(result["longer_than"].items(), key=_by_number)],
        "legend": [(state, name_state(state), TAGS.get(state, "span")) for state in states],
        "has_score": bool(result["tokens"]["read"]),
        "count": len(examples),
        "number": number,
        "example": _describe_example(examples[number - 1]) if examples else None,
        "previous": number - 1,
        "next": number + 1 if number < len(examples) else 0,
    }


def name_state(state: str) -> str:
    """What training does with a token."""
    words = {
        "trained": _("trained on: learned to be predicted"),
        "masked": _("masked: read, but not learned"),
        "read": _("read for the score"),
        "unused": _("not used by this method"),
        "cut": _("cut: beyond the limit"),
    }
    return words[state]


def _list_figures(result: Mapping[str, Any]) -> list[Figure]:
    data, tokens, cut = result["data"], result["tokens"], result["cut"]
    used = _("%(used)s of %(read)s") % {"used": intcomma(data["used"]), "read": intcomma(data["read"])}
    figures = [Figure(_("Training pairs used"), used)]
    if held_out := result.get("held_out"):
        held = {"used": intcomma(held_out["used"]), "read": intcomma(held_out["read"])}
        figures.append(Figure(_("Held-out pairs used"), _("%(used)s of %(read)s") % held))
    figures.append(Figure(_("Tokens"), intcomma(tokens["total"])))
    for state, label in (("trained", _("Trained on")), ("masked", _("Masked")), ("read", _("Read for the score"))):
        if tokens[state]:
            share = show_percent(tokens[state] / tokens["total"])
            figures.append(Figure(label, f"{intcomma(tokens[state])} ({share})"))
    figures.append(Figure(_("Left out"), intcomma(data["read"] - data["used"])))
    figures.append(Figure(_("Shortened"), intcomma(cut["rows"])))
    return figures


def _list_notices(result: Mapping[str, Any]) -> Iterator[Notice]:
    limits, cut = result["limits"], result["cut"]
    if result["problem"]:
        reason = translate_stored(result["problem"], REASONS) or result["problem"]
        yield Notice(_("A run with these settings would fail: %(reason)s") % {"reason": reason}, True)
    if limits.get("asked", 0) > limits["max_length"]:
        numbers = {"limit": intcomma(limits["max_length"]), "asked": intcomma(limits["asked"])}
        yield Notice(_("The model reads at most %(limit)s tokens, so the limit of %(asked)s is lowered.") % numbers)
    if cut["rows"]:
        # In an order of our own: a database need not keep that of the engine's JSON.
        parts = [part for part in ("prompt", "chosen", "rejected") if cut["tokens"].get(part)]
        listed = ", ".join(f"{name_part(part)} {intcomma(cut['tokens'][part])}" for part in parts)
        text = ngettext(
            "%(rows)s pair is shortened; tokens lost: %(parts)s (%(lines)s).",
            "%(rows)s pairs are shortened; tokens lost: %(parts)s (%(lines)s).",
            cut["rows"],
        )
        yield Notice(text % {"rows": intcomma(cut["rows"]), "parts": listed, "lines": _name_lines(cut)})
    if moved := result["data"].get("boundary_moved"):
        text = ngettext(
            "In %(rows)s pair the chat template writes a finished turn unlike the one it asks for; the end of the "
            "prompt is learned as if it were part of the reply.",
            "In %(rows)s pairs the chat template writes a finished turn unlike the one it asks for; the end of the "
            "prompt is learned as if it were part of the reply.",
            moved,
        )
        yield Notice(text % {"rows": intcomma(moved)})
    for found in result["control_strings"]:
        text = ngettext(
            "stands in the text of %(rows)s pair; it is kept as plain text, never as a control token (%(lines)s).",
            "stands in the text of %(rows)s pairs; it is kept as plain text, never as a control token (%(lines)s).",
            found["rows"],
        )
        numbers = {"rows": intcomma(found["rows"]), "lines": _name_lines(found)}
        yield Notice(text % numbers, code=found["name"])


def _describe_dropped(found: Mapping[str, Any]) -> str:
    reason = {"number": found["rows"], "reason": name_reason(found["name"])}
    return f"{_('%(number)d left out: %(reason)s') % reason} ({_name_lines(found)})"


def _name_lines(found: Mapping[str, Any]) -> str:
    numbers = ", ".join(intcomma(line) for line in found["lines"])
    if found["rows"] > len(found["lines"]):
        numbers += ", …"
    return ngettext("line %(numbers)s", "lines %(numbers)s", found["rows"]) % {"numbers": numbers}


def _tabulate_lengths(lengths: Mapping[str, Any]) -> list[tuple[str, list[int]]]:
    columns = ("min", "median", "p90", "p99", "max")
    parts = [part for part in ("prompt", "chosen", "rejected", "longest") if part in lengths]
    return [(_name_length(part), [lengths[part][column] for column in columns]) for part in parts]


def _tabulate_bins(lengths: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How long whole sequences are: bins with the width of their bar in per cent of the highest."""
    bins = lengths["longest"]["histogram"] if "longest" in lengths else []
    highest = max((bin["rows"] for bin in bins), default=1)
    return [{**bin, "width": round(100 * bin["rows"] / highest, 1)} for bin in bins]


def _name_length(part: str) -> str:
    return _("prompt with the longer response") if part == "longest" else name_part(part)


def _describe_example(example: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "line": example["line"],
        "prompt": _describe_part(example["parts"][0]),
        "replies": [_describe_part(part) for part in example["parts"][1:]],
    }


def _describe_part(part: Mapping[str, Any]) -> Part:
    length = ngettext("%(number)s token", "%(number)s tokens", part["length"]) % {"number": intcomma(part["length"])}
    cut = _("%(number)s cut") % {"number": intcomma(part["cut"])} if part["cut"] else ""
    stretches = [
        Stretch(state, name_state(state), TAGS.get(state, "span"), [_describe_token(token) for token in tokens])
        for state, tokens in groupby(part["tokens"], key=lambda token: str(token["state"]))
    ]
    return Part(name_part(part["name"]), ", ".join(filter(None, [length, cut])), stretches)


def _describe_token(token: Mapping[str, Any]) -> Token:
    text = token["text"].replace("\n", "↵\n").replace("\t", "⇥\t")
    if token.get("score"):
        text = text.removesuffix("\n")  # the mark stands beside its token, not in the next line
    return Token(
        text=text,
        title=" ".join(map(str, token["ids"])),
        is_control=bool(token.get("control")),
        is_scored=bool(token.get("score")),
        left_out=token.get("left_out", 0),
    )


def _list_states(examples: list[Mapping[str, Any]]) -> set[str]:
    return {token["state"] for example in examples for part in example["parts"] for token in part["tokens"]}


def _by_number(item: tuple[str, int]) -> int:
    return int(item[0])
