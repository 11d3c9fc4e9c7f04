"""The benchmark's tables, in Markdown, from its results."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

Result = dict[str, Any]
BASE = "Plumbline"


def report(results: Sequence[Result]) -> str:
    """One table by model, number of pairs and method, systems in the order in which they were first measured."""
    groups: dict[tuple[str, int, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result["model"], result["pairs"], result["method"]), []).append(result)
    return "\n".join(_draw_group(*key, group) for key, group in sorted(groups.items()))


def _draw_group(model: str, pairs: int, method: str, results: list[Result]) -> str:
    systems: dict[str, list[Result]] = {}
    for result in results:
        systems.setdefault(result["name"], []).append(result)
    tokens = sorted({result["tokens"] for result in results})
    loads = [result["load"] for result in results]
    base = systems.get(BASE)
    lines = [
        f"{model}, {method}: {pairs} pairs, {' or '.join(f'{count:,}' for count in tokens)} tokens, "
        f"load {min(loads):.1f} to {max(loads):.1f}",
        "",
        "| system | CPU s a pair | of it system | wall s a pair | peak MiB | runs | CPU | peak |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in systems.items():
        times = [f"{_median(runs, field) / pairs:.3f}" for field in ("cpu_s", "system_s", "wall_s")]
        ratios = [
            f"{_median(runs, field) / _median(base, field):.2f} ×" if base else "" for field in ("cpu_s", "peak_mib")
        ]
        cells = [name, *times, f"{_median(runs, 'peak_mib'):,.0f}", str(len(runs)), *ratios]
        lines.append(f"| {' | '.join(cells)} |")
    if base and "operations" in base[0]:
        operations = _median(base, "operations")
        lines += ["", f"{BASE}: {operations / pairs / 1e9:.1f} G operations a pair, "]
        lines[-1] += f"{operations / _median(base, 'cpu_s') / 1e9:.0f} G a CPU second"
    return "\n".join(lines) + "\n"


def _median(results: Sequence[Result], field: str) -> float:
    return float(statistics.median(result[field] for result in results))
