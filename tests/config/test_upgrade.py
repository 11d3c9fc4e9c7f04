"""A house of the first release, upgraded: every row is what it was, and every page shows it. On the database in use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import scratch_database

VOTES = 24

# Half a minute where nothing else runs; a busy machine takes minutes. One upgrade for both tests.
pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("upgrade")]


@pytest.fixture(scope="module")
def upgrade(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("upgrade")
    with scratch_database() as database:
        environment = os.environ | {"DATA_DIR": str(folder)} | database
        argv = [sys.executable, "-m", "benchmarks.upgrade", "--votes", str(VOTES), "--pages"]
        ended = subprocess.run(
            argv, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=840
        )
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout)


def test_every_row_is_what_it_was(upgrade: Any) -> None:
    assert upgrade["changed"] == [] and upgrade["tables"] > 15
    assert any(step.startswith("annotate.0002") for step in upgrade["steps"])


def test_every_page_shows_it(upgrade: Any) -> None:
    assert {address: status for address, status in upgrade["pages"].items() if status != 200} == {}
    assert len(upgrade["pages"]) > 40
