"""What a labeler may add to an answer: reasons in words, reasons to tick, a rewrite; and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.exporting.rule import DatasetRule
from annotate.models import Choice, Comparison, DatasetVersion, Judgment, Project, Response
from annotate.services.answers import MAX_RATIONALE, AnswerRefusedError
from annotate.services.datasets import build_dataset_version, freeze_dataset
from annotate.services.judgments import AnswerConflictError, submit_judgment
from annotate.services.prompts import MAX_CHARACTERS
from annotate.services.work_here import do_work_here
from tests.annotate.test_next_comparison import hand_out
from tests.annotate.votes import undo

Api = Callable[[User], APIClient]
SignIn = Callable[[User], Client]


@pytest.fixture
def open_project(project: Project) -> Project:
    """A project that takes everything."""
    project.rationale, project.allows_rewrite = "optional", True
    project.reason_tags = ["more correct", "better style"]
    project.save()
    return project


def say(project: Project, labeler: User, choice: Choice = Choice.LEFT_SLIGHTLY, **fields: Any) -> Judgment:
    token = fields.pop("token", None) or hand_out(labeler, project).token
    return submit_judgment(labeler=labeler, project=project, token=token, choice=choice, **fields)


def test_all_is_stored_with_the_vote(open_project: Project, labeler: User, comparisons: list[Comparison]) -> None:
    said = say(
        open_project, labeler, rationale="  It is right. ", reason_tags=["more correct"], rewrite="Six to seven."
    )
    said.refresh_from_db()
    assert (said.rationale, said.reason_tags) == ("It is right.", ["more correct"])
    rewrite = Response.objects.get(origin="rewrite")
    assert said.rewrite == rewrite and rewrite.labeler == labeler and rewrite.text == "Six to seven."
    assert rewrite.prompt == comparisons[0].prompt
    assert Comparison.objects.count() == 4  # nobody is asked to judge a rewrite


def test_the_same_answer_twice_is_stored_once_and_another_reason_is_a_conflict(
    open_project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    token = hand_out(labeler, open_project).token
    added: dict[str, Any] = {"rationale": "Right.", "reason_tags": ["better style"], "rewrite": "Mine."}
    first = say(open_project, labeler, token=token, **added)
    assert say(open_project, labeler, token=token, **added) == first
    change: dict[str, Any]
    for change in ({"rationale": "Wrong."}, {"reason_tags": []}, {"rewrite": ""}, {"rewrite": "Yours."}):
        with pytest.raises(AnswerConflictError):
            say(open_project, labeler, token=token, **(added | change))
    assert (Judgment.objects.count(), Response.objects.filter(origin="rewrite").count()) == (1, 1)


@pytest.mark.parametrize(
    ("settings", "added", "field"),
    [
        ({"rationale": "off"}, {"rationale": "Right."}, "rationale"),
        ({"rationale": "required"}, {"rationale": "  "}, "rationale"),
        ({}, {"rationale": "x" * (MAX_RATIONALE + 1)}, "rationale"),
        ({}, {"reason_tags": ["louder"]}, "reason_tags"),
        ({}, {"reason_tags": ["better style", "better style"]}, "reason_tags"),
        ({"allows_rewrite": False}, {"rewrite": "Mine."}, "rewrite"),
        ({}, {"rewrite": "First answer to question 1."}, "rewrite"),
        ({}, {"rewrite": "Second answer to question 1."}, "rewrite"),
        ({}, {"rewrite": " \n"}, "rewrite"),
        ({}, {"rewrite": "x" * (MAX_CHARACTERS + 1)}, "rewrite"),
        ({}, {"rewrite": "a\0b"}, "rewrite"),
        ({}, {"rewrite": "Mine.", "choice": Choice.UNSURE}, "rewrite"),
    ],
)
def test_what_the_project_does_not_take_is_refused(
    open_project: Project,
    labeler: User,
    comparisons: list[Comparison],
    settings: dict[str, Any],
    added: dict[str, Any],
    field: str,
) -> None:
    for name, value in settings.items():
        setattr(open_project, name, value)
    with pytest.raises(AnswerRefusedError) as caught:
        say(open_project, labeler, **added)
    assert caught.value.field == field and str(caught.value)
    assert not Judgment.objects.exists() and not Response.objects.filter(origin="rewrite").exists()


def test_the_page_takes_them_and_names_what_is_wrong(
    open_project: Project, labeler: User, comparisons: list[Comparison], sign_in: SignIn
) -> None:
    client, url = sign_in(labeler), reverse("compare", args=[open_project.slug])
    answer = {"token": hand_out(labeler, open_project).token, "choice": "left_slightly"}
    for wrong, words in (
        ({"rationale": "x" * (MAX_RATIONALE + 1)}, "Reasons: "),
        ({"reason_tags": ["louder"]}, "Reasons: "),
        ({"rewrite": "First answer to question 1."}, "the same text as a response"),
    ):
        told = client.post(url, answer | wrong)
        assert told.status_code == 422 and words in told.content.decode()
    good = {"rationale": "One\r\ntwo", "reason_tags": ["more correct", "better style"], "rewrite": "Three\r\nfour "}
    assert client.post(url, answer | good).status_code == 302
    said = Judgment.objects.get()
    assert said.rationale == "One\ntwo" and said.reason_tags == ["more correct", "better style"]
    assert said.rewrite is not None and said.rewrite.text == "Three\nfour "


def test_the_api_takes_them_and_gives_them_back(
    open_project: Project, labeler: User, comparisons: list[Comparison], api: Api
) -> None:
    url = f"/api/v1/projects/{open_project.slug}/judgments/"
    answer = {"token": str(hand_out(labeler, open_project).token), "choice": "right_slightly"}
    refused = api(labeler).post(url, answer | {"reason_tags": ["louder"]})
    assert refused.status_code == 400 and "no reason of this project" in refused.json()["reason_tags"][0]
    added = {"rationale": "Right.", "reason_tags": ["more correct"], "rewrite": "Mine."}
    told = api(labeler).post(url, answer | added)
    assert told.status_code == 201 and {name: told.json()[name] for name in added} == added
    (listed,) = api(labeler).get(url).json()["results"]
    assert {name: listed[name] for name in added} == added


def freeze(project: Project, **rule: Any) -> tuple[DatasetVersion, list[dict[str, Any]]]:
    fields = DatasetRule(**({"eval_share": 0.0} | rule))
    version = do_work_here(
        lambda: freeze_dataset(project=project, rule=fields, by=project.created_by), build_dataset_version
    )
    return version, [orjson.loads(line) for line in version.train_path.read_bytes().splitlines()]


def test_a_rewrite_makes_two_more_pairs_where_the_rule_asks(
    open_project: Project, labeler: User, comparisons: list[Comparison], tmp_path: Path, settings: Any
) -> None:
    settings.DATA_DIR = tmp_path
    said = say(open_project, labeler, rewrite="Mine.", rationale="Right.", reason_tags=["more correct"])
    _plain, rows = freeze(open_project)
    assert len(rows) == 1 and "rewrite" not in rows[0] and "reasons" not in rows[0]
    version, rows = freeze(open_project, include_rewrites=True, include_reasons=True)
    assert [row["rewrite"] for row in rows] == [False, True, True]
    pair = comparisons[0]
    for row, rejected in zip(rows[1:], (pair.response_a, pair.response_b), strict=True):
        assert row["chosen"][0]["content"] == "Mine." and row["chosen_response_id"] == said.rewrite_id
        assert row["rejected_response_id"] == rejected.pk and row["comparison_id"] == pair.pk
        assert (row["grade"], row["votes"], row["agreement"], row["judgment_ids"]) == (None, 0, None, [said.pk])
        assert row["reasons"] == [{"judgment_id": said.pk, "rationale": "Right.", "tags": ["more correct"]}]
    assert list(version.judgments.all()) == [said]
    assert version.counts["rewrite_rows"] == 2 and version.counts["mean_agreement"] == 1.0
    card = (version.folder / "README.md").read_text()
    assert "- name: rewrite\n    dtype: bool" in card and "| `reasons` |" in card


def test_a_rewrite_outlives_a_tie_but_not_its_vote(
    open_project: Project,
    labeler: User,
    teammate: User,
    make_comparison: Callable[..., Comparison],
    tmp_path: Path,
    settings: Any,
) -> None:
    settings.DATA_DIR = tmp_path
    make_comparison(need=2)
    for person, winner in ((labeler, "a"), (teammate, "b")):
        held = hand_out(person, open_project)
        choice = Choice.LEFT_SLIGHTLY if held.left_response == winner else Choice.RIGHT_SLIGHTLY
        submit_judgment(
            labeler=person, project=open_project, token=held.token, choice=choice, rewrite=f"By {person.username}."
        )
    version, rows = freeze(open_project, include_rewrites=True)
    assert [row["chosen"][0]["content"] for row in rows] == ["By labeler."] * 2 + ["By teammate."] * 2
    assert version.left_out == {"tie": 1} and version.judgments.count() == 2
    undo(Judgment.objects.get(labeler=labeler))
    _version, rows = freeze(open_project, include_rewrites=True)
    assert {row["chosen"][0]["content"] for row in rows if row["rewrite"]} == {"By teammate."}
