"""The figures of trials, as they stand in benchmarks/README.md."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.chaos.promises import find_promise


def show_set_ups(trials: list[dict[str, Any]]) -> str:
    """One line a set-up: what must be true of every run, counted."""
    head = ["set-up", "runs", "faults", "ended once", "weights bit-equal", "curves equal"]
    head += ["steps by a fenced-off owner", "devices with two trainers", "minutes"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for trial in trials:
        runs = trial["runs"].values()
        cells = [trial["set_up"], len(runs), len(trial["marks"])]
        cells += [sum(run[name] for run in runs) for name in ("ended_once", "bit_equal", "same_curves", "fenced_steps")]
        cells += [len(trial["crowded"]), f"{trial['seconds'] / 60:.0f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def show_faults(trials: list[dict[str, Any]]) -> str:
    """One line a fault, over all set-ups: how soon the run went on, and how much was done again."""
    by_fault: dict[str, list[dict[str, Any]]] = {}
    for trial in trials:
        for mark in trial["marks"]:
            by_fault.setdefault(mark["fault"], []).append(mark)
    head = ["fault", "times", "same attempt", "taken up after, s (median, most)", "next step after, s (median, most)"]
    head += ["steps done again (median, most)", "also measured (median, most)", "promised", "kept"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for fault, marks in sorted(by_fault.items()):
        cells = [fault, str(len(marks)), str(sum(mark["taken_up_s"] is None for mark in marks))]
        cells += [_show(marks, "taken_up_s"), _show(marks, "stepping_s"), _show(marks, "redone")]
        extra = sorted({name for mark in marks for name, value in mark["seen"].items() if isinstance(value, float)})
        seen = [mark["seen"] for mark in marks]
        words = [f"{name.removesuffix('_s')} {_show(seen, name)} s" for name in extra]
        told = [mark["seen"]["reported"] for mark in marks if "reported" in mark["seen"]]
        words += [f"reported {sum(told)} of {len(told)}"] if told else []
        promise = find_promise(fault)
        kept = [promise.words, f"{sum(map(promise.is_kept, marks))} of {len(marks)}"] if promise else ["", ""]
        lines.append(f"| {' | '.join([*cells, ', '.join(words), *kept])} |")
    return "\n".join(lines)


def list_wrongs(trials: list[dict[str, Any]]) -> list[str]:
    """What must not be, each a line."""
    found = []
    for trial in trials:
        where = trial["set_up"]
        found += [f"{where}: {text}" for text in (*trial["problems"], *trial["crowded"])]
        for run in trial["runs"].values():
            wrong = [name for name in ("ended_once", "bit_equal", "same_curves") if not run[name]]
            wrong += ["fenced_steps"] if run["fenced_steps"] else []
            if wrong:
                found.append(f"{where}: {run['name']} ({run['state']}, {run['cause']}): {', '.join(wrong)}")
        for mark in trial["marks"]:
            promise = find_promise(mark["fault"])
            if promise and not promise.is_kept(mark):
                found.append(f"{where}: run {mark['run']}, {mark['fault']}: {promise.words}: {mark}")
    return found


def _show(rows: list[dict[str, Any]], name: str) -> str:
    values = [row[name] for row in rows if row.get(name) is not None]
    digits = 0 if name == "redone" else 1
    return f"{median(values):.{digits}f}, {max(values):.{digits}f}" if values else ""
