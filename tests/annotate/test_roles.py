"""Labeler, reviewer and lead: what each role adds; the routes are held by tests/test_permission_matrix.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import Choice, Comparison, Flag, Membership, Project
from annotate.permissions import can_lead, can_review
from annotate.services.adjudication import answer_blind
from annotate.services.projects import add_member
from tests.annotate.votes import vote
from tests.scenery import make_dataset

Api = Callable[[User], APIClient]
SignIn = Callable[[User], Client]


@pytest.fixture
def reviewer(project: Project, teammate: User) -> User:
    Membership.objects.filter(project=project, user=teammate).update(role="reviewer")
    return teammate


@pytest.fixture
def lead(project: Project, outsider: User) -> User:
    Membership.objects.create(project=project, user=outsider, role="lead")
    return outsider


def test_each_role_may_what_those_before_may(
    project: Project, labeler: User, reviewer: User, lead: User, admin: User
) -> None:
    other = Project.objects.create(name="Other", slug="other", created_by=admin)
    people = (labeler, reviewer, lead, admin)
    assert [(can_review(user, project), can_lead(user, project)) for user in people] == [
        (False, False),
        (True, False),
        (True, True),
        (True, True),
    ]
    assert not any(can_review(user, other) or can_lead(user, other) for user in people[:3])
    lead.is_active = False
    assert not can_lead(lead, project)


def test_adding_somebody_again_gives_them_the_role(project: Project, labeler: User, admin: User) -> None:
    assert add_member(project=project, user=labeler, role="lead", by=admin)  # type: ignore[arg-type]
    assert not add_member(project=project, user=labeler, role="lead", by=admin)  # type: ignore[arg-type]
    assert Membership.objects.get(project=project, user=labeler).role == "lead"


def test_a_lead_changes_settings_and_members_of_their_own_project(
    project: Project, lead: User, labeler: User, admin: User, sign_in: SignIn
) -> None:
    client = sign_in(lead)
    page = client.get(reverse("project_detail", args=[project.slug])).content.decode()
    assert "Members" in page and "Datasets" in page and "Imports" in page and "Sampling" not in page
    form = {"name": project.name, "question": "Which?", "votes_per_comparison": "3", "scale": "four"}
    assert client.post(reverse("project_edit", args=[project.slug]), form).status_code == 302
    project.refresh_from_db()
    assert (project.question, project.scale) == ("Which?", "four")
    role = reverse("member_role", args=[project.slug, labeler.pk])
    assert "another role" in client.post(role, {"role": "reviewer"}, follow=True).content.decode()
    assert "no such role" in client.post(role, {"role": "boss"}, follow=True).content.decode()
    assert Membership.objects.get(user=labeler).role == "reviewer"
    assert client.post(reverse("member_role", args=[project.slug, admin.pk]), {"role": "lead"}).status_code == 404
    assert client.post(reverse("member_remove", args=[project.slug, labeler.pk])).status_code == 302


def test_a_reviewer_sees_votes_and_flags_but_no_sources(
    project: Project, reviewer: User, lead: User, labeler: User, comparisons: list[Comparison], sign_in: SignIn
) -> None:
    vote(comparisons[0], labeler)
    flag = Flag.objects.create(comparison=comparisons[0], labeler=labeler, reason="other", note="Odd.")
    answer_blind(reviewer=reviewer, comparison=comparisons[0], choice=Choice.UNSURE)
    url = reverse("comparison_detail", args=[comparisons[0].pk])
    page = sign_in(reviewer).get(url).content.decode()
    assert "slightly better" in page and "Odd." in page and "secret-origin" not in page
    assert sign_in(reviewer).post(reverse("flag_resolve", args=[flag.pk])).status_code == 302
    assert "secret-origin-a" in sign_in(lead).get(url).content.decode()
    assert sign_in(labeler).get(url).status_code == 403


def test_a_lead_looks_at_datasets_and_changes_none(project: Project, lead: User, sign_in: SignIn, api: Api) -> None:
    version = make_dataset(project)
    page = sign_in(lead).get(reverse("dataset_detail", args=[version.pk])).content.decode()
    assert "/files/" not in page and "Launch a run" not in page
    assert "New version" not in sign_in(lead).get(reverse("dataset_list", args=[project.slug])).content.decode()
    assert sign_in(lead).get(reverse("dataset_download", args=[version.pk, "train"])).status_code == 403
    assert api(lead).get(f"/api/v1/datasets/{version.pk}/").json()["id"] == version.pk
    assert api(lead).delete(f"/api/v1/datasets/{version.pk}/").status_code == 403
    assert api(lead).post(f"/api/v1/projects/{project.slug}/datasets/", {}).status_code == 403


def test_the_api_shows_a_reviewer_all_judgments_and_lets_a_lead_change_settings(
    project: Project, labeler: User, reviewer: User, lead: User, comparisons: list[Comparison], api: Api
) -> None:
    vote(comparisons[0], labeler)
    base = f"/api/v1/projects/{project.slug}/"
    (row,) = api(reviewer).get(base + "judgments/").json()["results"]
    assert (row["labeler"], row["winner"]) == ("labeler", "a")
    assert api(reviewer).patch(base, {"scale": "four"}).status_code == 403
    told = api(lead).patch(base, {"scale": "four", "reason_tags": ["shorter"], "guidelines": "New."}).json()
    assert (told["scale"], told["reason_tags"], told["votes_per_comparison"]) == ("four", ["shorter"], 1)
    assert project.guideline_versions.get().text == "New."
    for name, value in (("scale", "five"), ("votes_per_comparison", 0), ("languages", ["?"]), ("reason_tags", "x")):
        refused = api(lead).patch(base, {name: value})
        assert refused.status_code == 400 and list(refused.json()) == [name]
    assert api(lead).patch(base, {"archived": True}).json()["archived_at"]
