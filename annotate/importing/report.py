"""What an import found: counts for everything, words for the first thousand problems."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from annotate.importing.problems import FileProblem, LineProblem, show_text

MAX_LISTED = 1_000
MAX_IGNORED_NAMES = 50
MAX_GOLD_LINES = 100


@dataclass
class Report:
    """Filled while reading; ``as_json`` is what ``Import.report`` holds.

    ``gold`` pairs were made; ``gold_kept`` lines name the answer that their pair in the project has already, and
    ``gold_differs`` lines one that it has not, which changes nothing there.
    """

    lines: int = 0
    blank_lines: int = 0
    good_lines: int = 0
    bad_lines: int = 0
    imported: int = 0
    new_prompts: int = 0
    recorded_winners: int = 0
    gold: int = 0
    gold_kept: int = 0
    gold_differs: int = 0
    gold_differing_lines: list[int] = field(default_factory=list)
    votes: int = 0
    workers: int = 0
    duplicates_in_file: int = 0
    duplicates_in_project: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    ignored_fields: Counter[str] = field(default_factory=Counter)
    listed: list[dict[str, Any]] = field(default_factory=list)
    file_problem: dict[str, str] | None = None

    def add_problem(self, line: int, problem: LineProblem) -> None:
        """A line has one problem, the first that was found, so the counts by code add up to the bad lines."""
        self.bad_lines += 1
        self.problems[problem.code] += 1
        if len(self.listed) < MAX_LISTED:
            entry = {"line": line, "code": problem.code, "field": show_text(problem.field), "reason": problem.reason}
            self.listed.append(entry)

    def add_ignored(self, names: frozenset[str]) -> None:
        for name in sorted(names):
            if name in self.ignored_fields or len(self.ignored_fields) < MAX_IGNORED_NAMES:
                self.ignored_fields[name] += 1

    def add_standing_gold(self, line: int, *, is_same: bool) -> None:
        """A line with a known answer to a pair that the project holds already: what stands there stays."""
        if is_same:
            self.gold_kept += 1
            return
        self.gold_differs += 1
        if len(self.gold_differing_lines) < MAX_GOLD_LINES:
            self.gold_differing_lines.append(line)

    def set_file_problem(self, problem: FileProblem) -> None:
        self.file_problem = {"code": problem.code, "reason": problem.reason}

    def as_json(self) -> dict[str, Any]:
        """Plain data, biggest counts first."""
        return {
            "lines": self.lines,
            "blank_lines": self.blank_lines,
            "good_lines": self.good_lines,
            "bad_lines": self.bad_lines,
            "imported": self.imported,
            "new_prompts": self.new_prompts,
            "recorded_winners": self.recorded_winners,
            "gold": {
                "made": self.gold,
                "kept": self.gold_kept,
                "differs": self.gold_differs,
                "differing_lines": self.gold_differing_lines,
            },
            "votes": self.votes,
            "workers": self.workers,
            "duplicates": {"in_file": self.duplicates_in_file, "in_project": self.duplicates_in_project},
            "problems": dict(self.problems.most_common()),
            "notes": dict(self.notes.most_common()),
            "ignored_fields": dict(self.ignored_fields.most_common()),
            "listed": self.listed,
            "file_problem": self.file_problem,
        }
