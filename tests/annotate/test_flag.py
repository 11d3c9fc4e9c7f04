"""Flagging a pair without losing it: rule, page and API; and putting a flag aside."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import Assignment, Choice, Comparison, Flag, FlagReason, Project
from annotate.services.flags import flag_comparison, resolve_flag
from annotate.services.judgments import UnknownTokenError, submit_judgment
from tests.annotate.test_next_comparison import hand_out

Api = Callable[[User], APIClient]
SignIn = Callable[[User], Client]


def test_the_pair_stays_and_can_still_be_judged(project: Project, labeler: User, comparisons: list[Comparison]) -> None:
    held = hand_out(labeler, project)
    give = {"labeler": labeler, "project": project, "token": held.token}
    flag = flag_comparison(**give, reason=FlagReason.IDENTITY, note=" I am GPT ")  # type: ignore[arg-type]
    assert (flag.comparison, flag.note) == (comparisons[0], "I am GPT")
    assert hand_out(labeler, project).token == held.token
    submit_judgment(**give, choice=Choice.UNSURE)  # type: ignore[arg-type]
    flag_comparison(**give, reason=FlagReason.OTHER)  # type: ignore[arg-type]
    assert Flag.objects.count() == 2


def test_sent_again_it_is_one_flag_with_the_latest_words(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    give = {"labeler": labeler, "project": project, "token": hand_out(labeler, project).token}
    for note in ("one", "", "two"):
        flag_comparison(**give, reason=FlagReason.OTHER, note=note)  # type: ignore[arg-type]
    assert Flag.objects.get().note == "two"
    assert resolve_flag(flag=Flag.objects.get(), by=labeler) and not resolve_flag(flag=Flag.objects.get(), by=labeler)
    flag_comparison(**give, reason=FlagReason.OTHER)  # type: ignore[arg-type]
    assert Flag.objects.filter(resolved_at=None).count() == 1


def test_nobody_flags_with_a_token_of_somebody_else(
    project: Project, labeler: User, teammate: User, comparisons: list[Comparison]
) -> None:
    for token in (hand_out(labeler, project).token, uuid.uuid4()):
        with pytest.raises(UnknownTokenError):
            flag_comparison(labeler=teammate, project=project, token=token, reason=FlagReason.OTHER)


def test_the_page_flags_keeps_the_pair_and_asks_for_a_reason(
    project: Project, labeler: User, comparisons: list[Comparison], sign_in: SignIn
) -> None:
    client, url = sign_in(labeler), reverse("compare_flag", args=[project.slug])
    held = hand_out(labeler, project)
    for wrong in ({}, {"reason": "dull"}, {"reason": "other", "note": "x" * 251}):
        answer = client.post(url, {"token": held.token, **wrong})
        assert answer.status_code == 422 and "should be looked at" in answer.content.decode()
    page = client.post(url, {"token": held.token, "reason": "harmful"}, headers={"hx-request": "true"})
    assert "It stays yours to judge" in page.content.decode() and "Question 1?" in page.content.decode()
    assert (
        client.post(url, {"token": uuid.uuid4(), "reason": "other"}, headers={"hx-request": "true"}).status_code == 409
    )
    assert Flag.objects.count() == 1 and Assignment.objects.get().state == "leased"


def test_the_api_flags_once(project: Project, labeler: User, comparisons: list[Comparison], api: Api) -> None:
    url = f"/api/v1/projects/{project.slug}/flags/"
    payload = {"token": str(hand_out(labeler, project).token), "reason": "unclear", "note": "Both are poems."}
    first, again = api(labeler).post(url, payload), api(labeler).post(url, payload)
    assert first.status_code == again.status_code == 201 and first.json() == again.json()
    assert api(labeler).post(url, payload | {"reason": "dull"}).status_code == 400
    assert api(labeler).post(url, payload | {"token": str(uuid.uuid4())}).status_code == 404


def test_an_admin_sees_flags_and_puts_them_aside(
    project: Project, labeler: User, admin: User, comparisons: list[Comparison], sign_in: SignIn
) -> None:
    flag = Flag.objects.create(comparison=comparisons[0], labeler=labeler, reason="other", note="<b>odd</b>")
    client, url = sign_in(admin), reverse("comparison_detail", args=[comparisons[0].pk])
    page = client.get(url).content.decode()
    assert "&lt;b&gt;odd" in page and "Dealt with" in page
    page = client.post(reverse("flag_resolve", args=[flag.pk]), follow=True).content.decode()
    assert "Dealt with by admin" in page
    flag.refresh_from_db()
    assert flag.resolved_by == admin
