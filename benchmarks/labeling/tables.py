"""The tables of a benchmark of labeling, in Markdown."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np

SHOWN = ("next", "submit", "submit and next, page", "ahead, page", "page", "heartbeat", "healthz")
PERCENTILES = (50, 95, 99, 100)


def show_waits(trials: list[dict[str, Any]]) -> str:
    """One line a trial and operation: medians over the trial's windows, and p50 against the smallest trial's."""
    lines = ["| database | comparisons | operation | a minute | p50 | p95 | p99 | most | p50 to smallest |"]
    lines.append("|" + "---|" * 9)
    smallest: dict[tuple[str, str], float] = {}
    for trial in trials:
        for operation in SHOWN:
            windows = [window for window in trial["windows"] if window["waits"].get(operation)]
            if not windows:
                continue
            often = median(len(window["waits"][operation]) / window["seconds"] * 60 for window in windows)
            marks = [np.percentile(window["waits"][operation], PERCENTILES) * 1000 for window in windows]
            typical = np.median(np.array(marks), axis=0)
            ratio = typical[0] / smallest.setdefault((trial["database"], operation), typical[0])
            cells = [trial["database"], f"{trial['comparisons']:,}", operation, f"{often:.0f}"]
            cells += [f"{value:.0f} ms" for value in typical] + [f"{ratio:.2f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *show_outcomes(trials)])


def show_outcomes(trials: list[dict[str, Any]]) -> list[str]:
    head = ["database", "comparisons", "answers", "skips", "undone", "errors", "crashes", "lost", "doubled"]
    head += ["over-assigned", "miscounted", "server CPU", "clients CPU", "load"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for trial in trials:
        cells = [trial["database"], f"{trial['comparisons']:,}", f"{trial['answers']:,}"]
        cells += [str(trial[name]) for name in ("skips", "undone")]
        cells += [str(sum(trial["errors"].values()))]
        cells += [str(trial[name]) for name in ("crashes", "lost", "doubled", "over_assigned", "miscounted")]
        for side in ("server_cpu_s", "clients_cpu_s"):
            cells.append(f"{median(window[side] / window['seconds'] for window in trial['windows']):.2f}")
        cells.append(f"{median(window['load'] for window in trial['windows']):.1f}")
        lines.append(f"| {' | '.join(cells)} |")
        lines += [f"{operation}: {count} times" for operation, count in trial["errors"].items()]
    return lines


def show_kills(trials: list[dict[str, Any]]) -> str:
    """One line a trial: what was acknowledged and kept, and the seconds from a kill to the first good reply."""
    if not trials:
        return ""
    head = [
        "database",
        "kills",
        "answers",
        "no reply",
        "lost",
        "doubled",
        "over-assigned",
        "miscounted",
        "errors",
    ]
    head += ["back after p50", "p95", "most"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for trial in trials:
        back = np.percentile(trial["back_s"], [50, 95, 100])
        cells = [trial["database"], str(len(trial["back_s"])), f"{trial['answers']:,}", str(trial["unanswered"])]
        cells += [str(trial[name]) for name in ("lost", "doubled", "over_assigned", "miscounted")]
        cells += [str(sum(trial["errors"].values())), *(f"{value:.1f} s" for value in back)]
        lines.append(f"| {' | '.join(cells)} |")
        lines += [f"{operation}: {count} times" for operation, count in trial["errors"].items()]
    return "\n".join(lines)


def show_reports(databases: list[dict[str, Any]]) -> str:
    """One line a report: seconds, of the clock and of the processor, and the memory that it added."""
    lines = ["| database | votes | report | seconds | CPU seconds | peak | more than before |", "|" + "---|" * 7]
    for one in databases:
        for cost in one["costs"]:
            cells = [
                one["database"],
                f"{one['votes']:,}",
                cost["part"],
                f"{cost['wall_s']:.1f}",
                f"{cost['cpu_s']:.1f}",
            ]
            cells += [f"{cost['peak_mib']:.0f} MiB", f"{cost['peak_mib'] - cost['before_mib']:.0f} MiB"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) if databases else ""
