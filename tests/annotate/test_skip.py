"""Skipping a pair: rule and API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.test import APIClient

from annotate.models import Choice, Comparison, Judgment, Project, SkipReason
from annotate.services.assignments import next_comparison
from annotate.services.judgments import AnswerConflictError, skip_comparison, submit_judgment
from annotate.services.places import reap_expired
from tests.annotate.test_next_comparison import hand_out
from tests.conftest import MakeComparison

LATER = timedelta(seconds=settings.ASSIGNMENT_LEASE_SECONDS + 1)
Api = Callable[[User], APIClient]


def test_a_skipped_pair_goes_to_others_and_not_to_the_same_labeler(
    project: Project, labeler: User, teammate: User, make_comparison: MakeComparison
) -> None:
    only = make_comparison()
    held = hand_out(labeler, project)
    skip = skip_comparison(
        labeler=labeler, project=project, token=held.token, reason=SkipReason.UNFIT, note=" Too technical. "
    )
    assert skip.skip_reason == "unfit: Too technical."
    only.refresh_from_db()
    assert only.taken == 0
    assert next_comparison(labeler=labeler, project=project) is None
    assert hand_out(teammate, project).comparison == only


def test_the_same_skip_twice_is_stored_once(project: Project, labeler: User, comparisons: list[Comparison]) -> None:
    held = hand_out(labeler, project)
    for _time in range(2):
        skip_comparison(labeler=labeler, project=project, token=held.token, reason=SkipReason.BROKEN)
    assert Judgment.objects.count() == 1
    assert Comparison.objects.get(pk=held.comparison_id).taken == 0
    with pytest.raises(AnswerConflictError):
        submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE)
    with pytest.raises(AnswerConflictError):
        skip_comparison(labeler=labeler, project=project, token=held.token, reason=SkipReason.OTHER)


def test_a_late_skip_frees_no_place_twice(
    project: Project, labeler: User, teammate: User, make_comparison: MakeComparison
) -> None:
    only = make_comparison()
    held = hand_out(labeler, project)
    reap_expired(now=timezone.now() + LATER)
    hand_out(teammate, project)
    skip_comparison(labeler=labeler, project=project, token=held.token, reason=SkipReason.BROKEN)
    only.refresh_from_db()
    assert only.taken == 1


def test_a_long_note_is_cut_not_refused(project: Project, labeler: User, comparisons: list[Comparison]) -> None:
    held = hand_out(labeler, project)
    skip = skip_comparison(
        labeler=labeler, project=project, token=held.token, reason=SkipReason.UPSETTING, note="가" * 5000
    )
    skip.refresh_from_db()
    assert len(skip.skip_reason) <= 300


def test_api_skips_and_names_the_bad_field(
    project: Project, labeler: User, comparisons: list[Comparison], api: Api
) -> None:
    held = hand_out(labeler, project)
    client = api(labeler)
    address = f"/api/v1/projects/{project.slug}/skip/"
    assert set(client.post(address, {"token": str(held.token), "reason": "dull"}).json()) == {"reason"}
    assert set(client.post(address, {"token": str(held.token), "reason": "other", "note": "a\0b"}).json()) == {"note"}
    answer = client.post(address, {"token": str(held.token), "reason": "other", "note": "Both are in Welsh."})
    assert answer.status_code == 201
    assert answer.json()["skip_reason"] == "other: Both are in Welsh."
    assert Judgment.objects.get().action == "skip"
