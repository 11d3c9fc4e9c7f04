"""Bringing in the votes of workers elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from annotate.models import Judgment, Project
from annotate.selectors.quality import measure_quality, read_votes
from annotate.services.assignments import next_comparison

PAIR: dict[str, Any] = {
    "prompt": "How long do eggs boil?",
    "responses": ["Six minutes.", "A while."],
    "votes": [
        {"worker": 7, "winner": "a"},
        {"worker": "x-1", "winner": "b", "grade": "significantly", "left": "b"},
        {"worker": "8", "winner": None},
    ],
}


def bring(folder: Path, project: Project, *lines: dict[str, Any]) -> None:
    path = folder / "votes.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    call_command("import_votes", str(path), project=project.slug, verbosity=0)


def test_votes_come_in_as_they_were_given(tmp_path: Path, project: Project, labeler: User) -> None:
    bring(tmp_path, project, PAIR)
    said = {vote.labeler.username: vote for vote in Judgment.objects.select_related("labeler")}
    assert {name: (vote.winner, vote.grade) for name, vote in said.items()} == {
        "worker-7": ("a", "slightly"),
        "worker-x-1": ("b", "significantly"),
        "worker-8": ("", "equal"),
    }
    assert (said["worker-x-1"].left_response, said["worker-x-1"].side) == ("b", "left")
    table, _grade, _week = read_votes(project)
    assert sorted(table.side.tolist()) == [-1, 0, 0]  # an order that nobody recorded is no evidence of bias
    assert measure_quality(project).position.count == 1
    assert next_comparison(labeler=labeler, project=project) is None  # nothing is left to be judged


def test_workers_cannot_log_in(tmp_path: Path, project: Project) -> None:
    bring(tmp_path, project, PAIR)
    for user in User.objects.filter(username__startswith="worker-"):
        assert not user.is_active and not user.has_usable_password()


def test_a_second_time_brings_nothing(tmp_path: Path, project: Project) -> None:
    bring(tmp_path, project, PAIR)
    bring(tmp_path, project, PAIR)
    assert Judgment.objects.count() == 3


def test_votes_are_never_put_into_a_persons_name(tmp_path: Path, project: Project) -> None:
    User.objects.create_user("worker-7", password="a password of theirs")
    with pytest.raises(CommandError, match="account of a person"):
        bring(tmp_path, project, PAIR)
    assert not Judgment.objects.exists()


@pytest.mark.parametrize(
    ("votes", "words"),
    [
        (None, "'votes' is missing"),
        ([], "list of 1 to 100"),
        ([{"winner": "a"}], "'worker' is missing"),
        ([{"worker": "1", "winner": "c"}], r"votes\[0\].winner is c"),
        ([{"worker": "1", "winner": "a", "grade": "equal"}], r"votes\[0\].grade is equal"),
        ([{"worker": "1", "winner": "a"}, {"worker": 1, "winner": "b"}], "votes twice"),
        ([{"worker": "a b", "winner": "a"}], "letters, digits"),
        (["a"], "not a vote"),
    ],
)
def test_a_bad_line_is_named_and_nothing_enters(tmp_path: Path, project: Project, votes: Any, words: str) -> None:
    with pytest.raises(CommandError, match=f"Line 2: .*{words}"):
        bring(tmp_path, project, PAIR, PAIR | {"prompt": "Another?", "votes": votes})
    assert not Judgment.objects.exists() and not project.comparisons.exists()
