"""Static files are collected at the first start, and later only when a source changed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from config.static_files import collect_changed_files


@pytest.fixture
def source(settings: Any, tmp_path: Path) -> Path:
    settings.STATIC_ROOT = tmp_path / "collected"
    settings.STATICFILES_DIRS = [tmp_path / "source"]
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "page.css").write_text("a{}")
    return tmp_path / "source"


def test_only_changes_are_collected(source: Path, settings: Any) -> None:
    collected = Path(settings.STATIC_ROOT) / "page.css"
    assert collect_changed_files() and collected.read_text() == "a{}"
    assert not collect_changed_files()
    (source / "page.css").write_text("a{color:red}")
    os.utime(source / "page.css", (time.time() + 10,) * 2)  # Django compares whole seconds
    assert collect_changed_files() and collected.read_text() == "a{color:red}"
    (source / "other.css").write_text("")
    assert collect_changed_files()
