"""docs/settings.md names every variable that the settings read, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def find_read(path: str = "config/settings.py") -> set[str]:
    """The names in ``env("NAME", ...)`` and ``env.list("NAME", ...)``."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Call):
            called = node.func.value if isinstance(node.func, ast.Attribute) else node.func
            if isinstance(called, ast.Name) and called.id == "env":
                assert isinstance(node.args[0], ast.Constant), ast.unparse(node)
                found.add(str(node.args[0].value))
    return found


def find_in_table() -> list[str]:
    rows = [
        line.split("|")[1] for line in (ROOT / "docs/settings.md").read_text().splitlines() if line.startswith("| `")
    ]
    return [name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)]


def test_table_and_settings_name_the_same() -> None:
    table = find_in_table()
    assert len(table) > 15 and len(table) == len(set(table))
    assert set(table) == find_read()


def test_the_readme_names_no_variable_that_is_not_there() -> None:
    text = (ROOT / "README.md").read_text().partition("## Settings")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| (.*?) \|", text, re.MULTILINE)) - {"variable"}
    assert {name for row in named for name in re.findall(r"`([A-Z_]+)`", row)} <= find_read()
