"""Lines of CSV files that people open in spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from io import StringIO


def write_line(cells: Iterable[object]) -> str:
    """One line with its end; nothing stands for None. A text that a spreadsheet would take for a formula is quoted."""
    line = StringIO()
    csv.writer(line).writerow([_defuse(cell) if isinstance(cell, str) else cell for cell in cells])
    return line.getvalue()


def _defuse(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
