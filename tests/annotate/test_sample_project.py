"""The sample project: real rows, their blemishes reported, made once."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from annotate.models import Project
from annotate.services.sample_project import SAMPLE_FILE, SLUG


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, settings: Any) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


def seed() -> str:
    out = io.StringIO()
    call_command("seed_sample_project", stdout=out)
    return out.getvalue()


def test_the_sample_comes_in_with_a_report_of_its_blemishes(admin: User, labeler: User) -> None:
    words = seed()
    project = Project.objects.get(slug=SLUG)
    assert project.comparisons.count() == 342
    assert min(len(messages) for messages in project.prompts.values_list("messages", flat=True)) > 1
    assert not project.comparisons.filter(recorded_winner="").exists()
    report = project.imports.get().report
    assert report["problems"] == {"prompts_differ": 4, "empty_text": 3, "identical_responses": 2}
    assert report["notes"] == {"merged_turns": 1}
    assert "line 21: The last reply of 'rejected' is empty." in words
    assert list(project.members.all()) == [labeler] and project.created_by == admin
    assert "## What counts" in project.guidelines


def test_a_second_call_doubles_nothing_and_lets_new_labelers_in(admin: User, labeler: User) -> None:
    seed()
    User.objects.create_user("late")
    assert "was there already" in seed()
    project = Project.objects.get(slug=SLUG)
    assert project.comparisons.count() == 342 and project.imports.count() == 1
    assert project.members.count() == 2


def test_without_an_admin_it_says_what_to_do(db: None) -> None:
    with pytest.raises(CommandError, match="no admin yet"):
        seed()


def test_the_file_is_the_one_its_note_describes() -> None:
    note = (SAMPLE_FILE.parent / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(SAMPLE_FILE.read_bytes()).hexdigest() in note
    assert "2022 Anthropic" in (SAMPLE_FILE.parent / "LICENSE-HH-RLHF").read_text(encoding="utf-8")


def test_import_command_says_what_is_wrong(admin: User, project: Project, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "a"}\n')
    out = io.StringIO()
    options: dict[str, Any] = {"project": project.slug, "format": "pairs", "stdout": out}
    with pytest.raises(CommandError, match="1 of 1 lines is bad"):
        call_command("import_comparisons", bad, **options)
    assert "line 1: The line has neither 'responses' nor 'chosen'" in out.getvalue()
    with pytest.raises(CommandError, match=r"missing\.jsonl cannot be read: No such file"):
        call_command("import_comparisons", tmp_path / "missing.jsonl", **options)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(CommandError, match="The file is empty"):
        call_command("import_comparisons", tmp_path / "empty.jsonl", **options)
