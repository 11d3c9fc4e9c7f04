"""A preview as text for a terminal. States are named, so that nothing is told by colour alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from training.engine.reasons import name_dropped

STYLES = {"masked": "2", "trained": "32", "read": "0", "unused": "2", "cut": "9;31", "control": "7", "title": "1"}
"""SGR codes: dim, green, plain, dim, struck through in red, reversed, bold."""
BETWEEN = "│"


def describe_preview(result: dict[str, Any], *, colour: bool) -> str:
    """The counts, then each example with its tokens parted by ``│``; without ``colour`` no escape codes."""
    style = _style if colour else _leave
    lines = [*_describe_counts(result, style)]
    for example in [*result["examples"], *result["cut_examples"]]:
        lines += ["", *_describe_example(example, style)]
    return "\n".join(lines)


def _describe_counts(result: dict[str, Any], style: Any) -> Iterator[str]:
    limits, data, tokens = result["limits"], result["data"], result["tokens"]
    lowered = f" (asked for {limits['asked']})" if limits.get("asked", 0) > limits["max_length"] else ""
    yield style(f"{result['method']}, at most {limits['max_length']} tokens{lowered}", "title")
    if result["problem"]:
        yield f"A run would fail: {result['problem']}"
    yield f"rows      {data['read']:,} read, {data['used']:,} used, {data['read'] - data['used']:,} left out"
    for found in result["dropped"]:
        yield f"          {found['rows']:,} × {name_dropped(found['name'])}: {_name_lines(found)}"
    if held_out := result.get("held_out"):
        yield f"held out  {held_out['read']:,} read, {held_out['used']:,} used"
    cut = result["cut"]
    parts = ", ".join(f"{name} {count:,} tokens" for name, count in cut["tokens"].items())
    yield f"cut       {cut['rows']:,} rows" + (f" ({parts}): {_name_lines(cut)}" if cut["rows"] else "")
    states = ", ".join(f"{tokens[state]:,} {state}" for state in ("trained", "masked", "read") if tokens[state])
    yield f"tokens    {tokens['total']:,}" + (f": {states}" if states else "")
    if result["lengths"]:
        yield f"lengths   {'':10}{'min':>8}{'median':>8}{'p90':>8}{'p99':>8}{'max':>8}"
        for name, sizes in result["lengths"].items():
            row = "".join(f"{sizes[column]:>8,}" for column in ("min", "median", "p90", "p99", "max"))
            yield f"          {name:10}{row}"
    longer = ", ".join(f"{rows:,} than {limit}" for limit, rows in result["longer_than"].items())
    yield f"longer    {longer}"
    if (moved := result["boundary_moved"])["rows"]:
        yield f"boundary  moved in {moved['rows']:,} rows by {moved['count']:,} tokens in all: {_name_lines(moved)}"
    for found in result["control_strings"]:
        yield f"in text   {_escape(found['name'])!r} {found['count']:,} times, kept as plain text: {_name_lines(found)}"


def _describe_example(example: dict[str, Any], style: Any) -> Iterator[str]:
    yield style(f"line {example['line']}", "title")
    for part in example["parts"]:
        cut = f", {part['cut']:,} cut" if part["cut"] else ""
        yield f"  {part['name']}: {part['length']:,} tokens{cut}"
        for state, tokens in groupby(part["tokens"], key=lambda token: str(token["state"])):
            label = f"    {state:8}"
            for line in _break_lines(list(tokens), state, style):
                yield label + line
                label = " " * len(label)


def _break_lines(tokens: list[dict[str, Any]], state: str, style: Any) -> Iterator[str]:
    """The text breaks where it does, and each break is seen."""
    shown: list[str] = []
    for token in tokens:
        if "left_out" in token:
            shown.append(f"[… {token['left_out']:,} tokens …]")
            continue
        *whole, last = token["text"].split("\n")
        for part in whole:
            shown.append(style(_escape(part) + "↵", "control" if "control" in token else state))
            yield BETWEEN.join(shown)
            shown = []
        if last or not whole:
            shown.append(style(_escape(last), "control" if "control" in token else state))
        if token.get("score"):
            shown.append("[score is read here]")
    if shown:
        yield BETWEEN.join(shown)


def _name_lines(found: dict[str, Any]) -> str:
    more = ", …" if found["rows"] > len(found["lines"]) else ""
    return f"line{'s' if len(found['lines']) > 1 else ''} {', '.join(map(str, found['lines']))}{more}"


def _escape(text: str) -> str:
    """Nothing that a terminal would obey, hide or reorder."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _style(text: str, name: str) -> str:
    return f"\x1b[{STYLES[name]}m{text}\x1b[0m"


def _leave(text: str, _name: str) -> str:
    return text
