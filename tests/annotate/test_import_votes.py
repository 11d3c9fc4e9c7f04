"""Votes of workers elsewhere: by command, on the page and through the API, by the one job of imports."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.importing.problems import LineProblem
from annotate.importing.votes import parse_voted_pair
from annotate.models import Assignment, Import, Judgment, Membership, Project, Role
from annotate.selectors.quality import measure_quality, read_votes
from annotate.services import worker_votes
from annotate.services.assignments import next_comparison
from annotate.services.imports import perform_import
from models_registry import leases
from models_registry.models import WorkState
from tests.annotate.test_import_comparisons import claim, run, start

PAIR: dict[str, Any] = {
    "prompt": "How long do eggs boil?",
    "responses": ["Six minutes.", "A while."],
    "votes": [
        {"worker": 7, "winner": "a"},
        {"worker": "x-1", "winner": "b", "grade": "significantly", "left": "b"},
        {"worker": "8", "winner": None},
    ],
}


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR = tmp_path / "data"


def make_lines(number: int, votes: Sequence[dict[str, Any]] = PAIR["votes"], start: int = 0) -> bytes:
    pairs = (PAIR | {"prompt": f"Question {n}?", "votes": votes} for n in range(start, start + number))
    return b"".join(json.dumps(pair).encode() + b"\n" for pair in pairs)


def is_untouched(project: Project) -> bool:
    voted = Judgment.objects.exists() or Assignment.objects.exists() or project.comparisons.exists()
    return not (voted or User.objects.filter(username__startswith="worker-").exists())


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
    with pytest.raises(CommandError, match=r"1 of 1 lines is bad.*line 1.*worker-7 is the account of a person"):
        bring(tmp_path, project, PAIR)
    assert not Judgment.objects.exists()


def test_an_account_that_somebody_takes_meanwhile_ends_it_all(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    User.objects.create_user("worker-7", password="a password of theirs")
    monkeypatch.setattr("annotate.services.import_rows.list_taken_names", set)  # when the lines were checked
    work = run(project, make_lines(2), format="votes")
    assert (work.state, work.cause_code) == (WorkState.FAILED, "changed_meanwhile") and "a person" in work.cause
    assert not project.comparisons.exists() and User.objects.filter(username__startswith="worker-").count() == 1


@pytest.mark.parametrize(
    ("votes", "field", "words"),
    [
        (None, "votes", "'votes' is missing"),
        ([], "votes", "list of 1 to 100"),
        ([{"winner": "a"}], "votes[0].worker", "'votes[0].worker' is missing"),
        ([{"worker": "1", "winner": "c"}], "votes[0].winner", "votes[0].winner is c"),
        ([{"worker": "1", "winner": "a", "grade": "equal"}], "votes[0].grade", "votes[0].grade is equal"),
        ([{"worker": "1", "winner": "a", "left": "x"}], "votes[0].left", "votes[0].left is x"),
        ([{"worker": "1", "winner": "a"}, {"worker": 1, "winner": "b"}], "votes[1].worker", "1 votes twice"),
        ([{"worker": "a b", "winner": "a"}], "votes[0].worker", "letters, digits"),
        ([{"worker": "x" * 101, "winner": "a"}], "votes[0].worker", "101 characters; at most 100"),
        ([{"worker": True, "winner": "a"}], "votes[0].worker", "is true or false"),
        (["a"], "votes[0]", "not a vote"),
    ],
)
def test_what_is_no_vote_is_named_by_field(votes: Any, field: str, words: str) -> None:
    with pytest.raises(LineProblem) as problem:
        parse_voted_pair(PAIR | {"votes": votes})
    assert problem.value.field == field and words in problem.value.reason


def test_no_vote_counts_on_gold() -> None:
    with pytest.raises(LineProblem, match="no vote on a gold pair counts"):
        parse_voted_pair(PAIR | {"gold": {"grade": "unsure"}})


def test_a_bad_line_in_the_middle_keeps_all_out_or_itself(tmp_path: Path, project: Project) -> None:
    bad = json.dumps(PAIR | {"prompt": "Bad?", "votes": [{"worker": "1", "winner": "c"}]}).encode() + b"\n"
    content = make_lines(40) + bad + make_lines(40, start=40)
    work = run(project, content, format="votes")
    assert work.cause_code == "bad_lines" and "1 of 81 lines" in work.cause and "line 41. votes[0].winner" in work.cause
    assert is_untouched(project)
    work = run(project, content, format="votes", on_bad_line="leave_out")
    assert work.state == WorkState.FINISHED
    counted = [work.report[name] for name in ("imported", "bad_lines", "votes", "workers")]
    assert counted == [80, 1, 240, 3]
    assert work.report["listed"][0] | {"reason": ""} == {
        "line": 41, "code": "bad_word", "field": "votes[0].winner", "reason": ""
    }  # fmt: skip
    assert Judgment.objects.count() == Assignment.objects.filter(state="done", holds_place=True).count() == 240


@pytest.mark.parametrize("encoding", ["utf-16", "cp949"])
def test_a_file_in_another_encoding_enters_nothing(project: Project, encoding: str) -> None:
    text = make_lines(2).decode() + json.dumps(PAIR | {"prompt": "달걀은 얼마나 삶나요?"}, ensure_ascii=False)
    work = run(project, text.encode(encoding), format="votes")
    assert work.state == WorkState.FAILED and "UTF-8" in work.cause and is_untouched(project)
    if encoding == "cp949":
        assert work.report["listed"][0]["line"] == 3


def test_the_same_pair_twice_in_a_file(project: Project) -> None:
    """With the same votes it is a repeat; with others one line's votes would be dropped unseen."""
    again, other = make_lines(1), make_lines(1, [{"worker": 9, "winner": "a"}])
    work = run(project, make_lines(1) + again + other, format="votes", on_bad_line="leave_out")
    assert work.report["duplicates"]["in_file"] == 1 and Judgment.objects.count() == 3
    assert [(entry["line"], entry["code"]) for entry in work.report["listed"]] == [(3, "claims_differ")]


def test_a_crash_amid_the_votes_leaves_nothing_and_the_next_owner_starts_over(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = worker_votes._store_votes, []

    def fail_the_second_time(*args: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise DatabaseError("the connection is gone")
        real(*args)

    work = claim(start(project, make_lines(1200), format="votes"))
    with monkeypatch.context() as patch:
        patch.setattr(worker_votes, "_store_votes", fail_the_second_time)
        with pytest.raises(DatabaseError):
            perform_import(work, lambda: None)
    assert len(calls) == 2 and is_untouched(project)
    Import.objects.update(state=WorkState.QUEUED)  # as when the dead owner's lease was over
    late, work = work, claim(work)
    with pytest.raises(leases.LeaseLost):
        perform_import(late, lambda: None)
    assert is_untouched(project)
    perform_import(work, lambda: None)
    assert Judgment.objects.count() == 3600 and User.objects.filter(username__startswith="worker-").count() == 3
    assert set(project.comparisons.values_list("need", "taken")) == {(3, 3)}


def test_votes_weigh_where_the_database_takes_only_so_much(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("other databases let labelers write meanwhile")
    monkeypatch.setattr("annotate.services.imports.MAX_ROWS_SQLITE", 8)
    assert run(project, make_lines(2), format="votes").state == WorkState.FINISHED
    work = run(project, make_lines(3, start=2), format="votes")
    assert work.cause_code == "too_many_rows" and "8 pairs and votes together" in work.cause


# -- Page and API -----------------------------------------------------------------------------------------------------


def test_page_takes_votes(sign_in: Callable[[User], Client], admin: User, project: Project) -> None:
    client = sign_in(admin)
    upload = SimpleUploadedFile("votes.jsonl.gz", gzip.compress(make_lines(4)))
    what = {"file": upload, "format": "votes", "on_bad_line": "reject"}
    response = client.post(reverse("import_list", args=[project.slug]), what)
    assert response.status_code == 302
    perform_import(claim(Import.objects.get()), lambda: None)
    page = client.get(response["Location"]).content.decode()
    assert "Votes from elsewhere: 12, of workers: 3" in page


def test_api_takes_votes_from_those_who_lead(
    api: Callable[[User], APIClient], project: Project, labeler: User, outsider: User
) -> None:
    url = reverse("api_import_list", args=[project.slug])

    def post(user: User) -> Any:
        upload = SimpleUploadedFile("votes.jsonl", make_lines(4))
        return api(user).post(url, {"file": upload, "format": "votes"}, format="multipart")

    assert (post(outsider).status_code, post(labeler).status_code) == (404, 403)
    Membership.objects.filter(user=labeler).update(role=Role.LEAD)
    response = post(labeler)
    assert response.status_code == 202
    work = Import.objects.get()
    perform_import(claim(work), lambda: None)
    data = api(labeler).get(reverse("api_import_detail", args=[work.pk])).json()
    assert (data["state"], data["report"]["votes"], data["report"]["workers"]) == ("finished", 12, 3)
    assert api(outsider).get(reverse("api_import_detail", args=[work.pk])).status_code == 404
