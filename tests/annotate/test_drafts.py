"""What a labeler has begun to say, kept on the server: rule, page and API. In browsers: tests/e2e/test_drafts.py."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from annotate.models import Assignment, Choice, Comparison, Draft, Judgment, Project, SkipReason
from annotate.selectors.drafts import find_draft
from annotate.services.answers import AnswerRefusedError
from annotate.services.changes import reopen_answer
from annotate.services.drafts import KEPT, NoOpenPairError, save_draft
from annotate.services.judgments import skip_comparison, submit_judgment, undo_judgment
from tests.annotate.test_next_comparison import LATER, hand_out

SignIn = Callable[[User], Client]
Api = Callable[[User], APIClient]


@pytest.fixture
def held(project: Project, labeler: User, comparisons: list[Comparison]) -> Assignment:
    """The labeler's pair, of a project that asks for reasons."""
    project.rationale, project.reason_tags, project.allows_rewrite = "optional", ["clearer"], True
    project.save()
    return hand_out(labeler, project)


def begin(held: Assignment, token: UUID | None = None, **said: Any) -> None:
    said = said or {"rationale": "It is "}
    save_draft(labeler=held.labeler, project=held.project, token=token or held.token, **said)


def read_words(assignment: Assignment) -> str | None:
    draft = find_draft(assignment)
    return draft.rationale if draft else None


def read_page_draft(response: Any) -> dict[str, Any] | None:
    text = unescape(response.content.decode().partition('data-draft="')[2].partition('"')[0])
    found: dict[str, Any] | None = json.loads(text) if text else None
    return found


def test_it_comes_back_with_the_pair_also_when_that_is_handed_out_anew(
    project: Project, labeler: User, teammate: User, held: Assignment
) -> None:
    begin(held, choice="left_slightly", reason_tags=["clearer"], rationale="It is ", rewrite="Better.\n", seconds=12.5)
    assert hand_out(teammate, project, now=timezone.now() + LATER).comparison == held.comparison
    assert find_draft(hand_out(teammate, project)) is None
    Assignment.objects.filter(labeler=teammate).delete()
    Comparison.objects.update(taken=0)
    again = hand_out(labeler, project)
    draft = find_draft(again)
    assert draft is not None
    assert again.comparison == held.comparison
    assert (draft.choice, draft.reason_tags, draft.rationale) == ("left_slightly", ["clearer"], "It is ")
    assert (draft.rewrite, draft.seconds) == ("Better.\n", 12.5)


def test_it_is_kept_after_the_lease_has_ended(project: Project, labeler: User, held: Assignment) -> None:
    Assignment.objects.update(state=Assignment.State.EXPIRED, holds_place=False)
    begin(held)
    assert read_words(held) == "It is "
    assert Assignment.objects.get().state == Assignment.State.EXPIRED


def test_it_goes_with_the_answer_and_with_a_skip(project: Project, labeler: User, held: Assignment) -> None:
    begin(held)
    submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE)
    assert not Draft.objects.exists()
    following = hand_out(labeler, project)
    begin(following)
    skip_comparison(labeler=labeler, project=project, token=following.token, reason=SkipReason.UNFIT)
    assert not Draft.objects.exists()


def test_it_stays_where_the_answer_is_refused(project: Project, labeler: User, held: Assignment) -> None:
    begin(held)
    with pytest.raises(AnswerRefusedError):
        submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE, reason_tags=["new"])
    assert read_words(held) == "It is "


def test_what_comes_after_the_answer_is_not_kept(project: Project, labeler: User, held: Assignment) -> None:
    submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE)
    for token in (held.token, uuid.uuid4()):
        with pytest.raises(NoOpenPairError):
            begin(held, token)
    assert not Draft.objects.exists()


def test_what_came_in_the_moment_of_the_answer_says_nothing_later(
    project: Project, labeler: User, held: Assignment
) -> None:
    said = submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE)
    Draft.objects.create(assignment=held, token=held.token, rationale="Too late.", updated_at=timezone.now())
    reopened = reopen_answer(labeler=labeler, project=project, token=said.token)
    assert find_draft(reopened) is None
    begin(reopened)
    assert read_words(reopened) == "It is "
    undone = undo_judgment(labeler=labeler, project=project)
    assert undone.pk == held.pk


def test_an_older_one_never_takes_the_place_of_a_newer(held: Assignment) -> None:
    begin(held, rationale="Typed here a minute ago.", age=60.0)
    begin(held, rationale="Typed there just now.")
    begin(held, rationale="Sent late.", age=30.0)
    begin(held, rationale="", age=30.0)
    assert read_words(held) == "Typed there just now."
    draft = Draft.objects.get()
    assert draft.updated_at <= timezone.now()
    begin(held, rationale="From the future.", age=-3600.0)
    assert Draft.objects.get().updated_at <= timezone.now()


def test_where_nothing_is_said_any_more_none_is_kept(held: Assignment) -> None:
    begin(held, rationale="")
    assert not Draft.objects.exists()
    begin(held)
    begin(held, rationale="", seconds=5.0)
    assert not Draft.objects.exists()


def test_old_ones_are_dropped_where_a_lease_ends(
    project: Project, labeler: User, teammate: User, held: Assignment
) -> None:
    begin(held)
    hand_out(teammate, project, now=timezone.now() + LATER)
    assert read_words(held) == "It is "
    hand_out(teammate, project, now=timezone.now() + KEPT - timedelta(minutes=1))  # ends their own lease
    assert read_words(held) == "It is "
    hand_out(teammate, project, now=timezone.now() + KEPT + LATER)
    assert read_words(held) is None


def test_keeping_one_writes_once_and_an_answer_without_one_nothing_for_it(
    project: Project, labeler: User, held: Assignment
) -> None:
    for words in ("It is ", "It is shorter."):
        with CaptureQueriesContext(connection) as queries:
            begin(held, rationale=words)
        written = [query["sql"] for query in queries if query["sql"].startswith(("INSERT", "UPDATE", "DELETE"))]
        assert len(written) == 1, written
        assert len(queries) <= 5
    with CaptureQueriesContext(connection) as queries:
        begin(held, rationale="")
    assert sum(query["sql"].startswith("DELETE") for query in queries) == 1
    with CaptureQueriesContext(connection) as queries:
        submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE)
    about = [query["sql"] for query in queries if "annotate_draft" in query["sql"]]
    assert len(about) == 1, about


def test_a_change_has_its_own_beside_the_answer_that_stands(
    project: Project, labeler: User, held: Assignment, sign_in: SignIn
) -> None:
    said = submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE, rationale="Hm.")
    reopened = reopen_answer(labeler=labeler, project=project, token=said.token)
    begin(reopened, choice="left_slightly", rationale="Hm, no.")
    page = sign_in(labeler).get(f"/projects/{project.slug}/compare/answers/{said.token}/")
    draft = read_page_draft(page)
    assert draft is not None
    assert draft["fields"] == [["choice", "left_slightly"], ["rationale", "Hm, no."]]
    assert Judgment.objects.get(superseded_by=None).choice == "unsure"
    submit_judgment(labeler=labeler, project=project, token=reopened.token, choice=Choice.LEFT_SLIGHTLY)
    assert not Draft.objects.exists()


def test_page_keeps_and_gives_it(sign_in: SignIn, project: Project, labeler: User, held: Assignment) -> None:
    address, client = f"/projects/{project.slug}/compare/", sign_in(labeler)
    assert read_page_draft(client.get(address)) is None
    fields = {"token": held.token, "choice": "", "rationale": " two\r\nlines ", "seconds": "7.5", "age": "3"}
    reply = client.post(f"{address}draft/", {**fields, "reason_tags": ["clearer"], "safety": "left"})
    assert (reply.status_code, reply.content) == (204, b"")
    draft = read_page_draft(client.get(address))
    assert draft is not None
    assert draft["fields"] == [["safety", "left"], ["reason_tags", "clearer"], ["rationale", " two\nlines "]]
    assert draft["seconds"] == 7.5
    assert 3 <= draft["age"] < 60
    assert Assignment.objects.get().expires_at - held.expires_at < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"token": "x", "rationale": "."}, 422),
        ({"token": str(uuid.uuid4()), "rationale": "."}, 409),
        ({"rationale": "x" * 2001}, 422),
        ({"rationale": "\0"}, 422),
        ({"rewrite": "x" * 64_001}, 422),
        ({"choice": "both"}, 422),
        ({"safety": "a"}, 422),
        ({"reason_tags": ["nonsense"]}, 422),
        ({"rationale": ".", "seconds": "nan", "age": "1e999"}, 204),
        ({"rationale": ".", "seconds": "-5", "age": "1e300"}, 204),
    ],
)
def test_page_takes_no_nonsense(
    sign_in: SignIn, project: Project, labeler: User, held: Assignment, fields: dict[str, Any], status: int
) -> None:
    reply = sign_in(labeler).post(f"/projects/{project.slug}/compare/draft/", {"token": held.token, **fields})
    assert reply.status_code == status
    assert Draft.objects.count() == (1 if status == 204 else 0)


def test_nobody_else_sees_or_changes_it(
    sign_in: SignIn, api: Api, project: Project, labeler: User, teammate: User, admin: User, held: Assignment
) -> None:
    begin(held, rationale="Only mine.")
    address = f"/api/v1/projects/{project.slug}/drafts/{held.token}/"
    for other in (teammate, admin):
        assert api(other).get(address).status_code == 404
        assert api(other).put(address, {"rationale": "Mine!"}).status_code == 404
        page = sign_in(other).post(f"/projects/{project.slug}/compare/draft/", {"token": held.token, "rationale": "!"})
        assert page.status_code == 409
        assert "Only mine." not in sign_in(other).get(f"/projects/{project.slug}/compare/").content.decode()
        assert "Only mine." not in sign_in(admin).get(f"/comparisons/{held.comparison_id}/").content.decode()
    assert read_words(held) == "Only mine."


def test_api_keeps_and_gives_it(project: Project, labeler: User, held: Assignment, api: Api) -> None:
    client, place = api(labeler), f"/api/v1/projects/{project.slug}"
    address = f"{place}/drafts/{held.token}/"
    assert client.get(address).status_code == 404
    assert client.post(f"{place}/next/").json()["draft"] is None
    said = {"choice": "right_slightly", "rationale": " as typed ", "reason_tags": ["clearer"], "seconds": 4.0}
    assert client.put(address, said).status_code == 204
    draft = client.post(f"{place}/next/").json()["draft"]
    assert draft == client.get(address).json()
    assert draft.pop("updated_at")
    assert draft == said | {"rewrite": "", "safety": ""}
    assert client.put(address, {}).status_code == 204
    assert client.get(address).status_code == 404


def test_api_names_the_bad_field(project: Project, labeler: User, held: Assignment, api: Api) -> None:
    client, address = api(labeler), f"/api/v1/projects/{project.slug}/drafts/{held.token}/"
    for field, value in {
        "choice": "both",
        "rationale": "x" * 2001,
        "reason_tags": ["x" * 41],
        "rewrite": "x" * 64_001,
        "seconds": "nan",
        "chioce": "unsure",
    }.items():
        reply = client.put(address, {field: value})
        assert (reply.status_code, list(reply.json())) == (400, [field])
    assert not Draft.objects.exists()
