"""Projects and their members through the API."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from annotate.models import Membership, Project, Role


@pytest.fixture
def lead(project: Project, client: Client) -> Client:
    user = User.objects.create_user("lea")
    Membership.objects.create(project=project, user=user, role=Role.LEAD)
    client.force_login(user)
    return client


def test_a_lead_lets_people_in_and_changes_their_role(project: Project, outsider: User, lead: Client) -> None:
    members = reverse("api_member_list", args=[project.slug])
    added = lead.post(members, {"username": outsider.username}, content_type="application/json")
    assert (added.status_code, added.json()) == (
        201,
        {"id": outsider.pk, "username": outsider.username, "role": "labeler", "votes": 0},
    )
    one = reverse("api_member_detail", args=[project.slug, outsider.pk])
    assert lead.put(one, {"role": "reviewer"}, content_type="application/json").json()["role"] == "reviewer"
    assert {row["username"]: row["role"] for row in lead.get(members).json()["results"]}[
        outsider.username
    ] == "reviewer"
    assert lead.delete(one).status_code == 204
    assert lead.delete(one).status_code == 204
    assert not project.members.filter(pk=outsider.pk).exists()


def test_unknown_people_and_roles_are_named(project: Project, outsider: User, lead: Client) -> None:
    members = reverse("api_member_list", args=[project.slug])
    User.objects.create(username="gone", is_active=False)
    for username in ("nobody", "gone", 7, None, ["x"]):
        answer = lead.post(members, {"username": username}, content_type="application/json")
        assert answer.status_code == 400 and list(answer.json()) == ["username"], username
    answer = lead.post(members, {"username": outsider.username, "role": "king"}, content_type="application/json")
    assert answer.status_code == 400 and list(answer.json()) == ["role"]


def test_an_admin_makes_a_project(admin: User, client: Client) -> None:
    client.force_login(admin)
    projects = reverse("api_project_list")
    made = client.post(projects, {"name": "Safe answers", "max_votes": 5}, content_type="application/json")
    assert made.status_code == 201
    assert (made.json()["slug"], made.json()["max_votes"], made.json()["scale"]) == ("safe-answers", 5, "three")
    for values, field in (({}, "name"), ({"name": "New", "slug": "new"}, "slug"), ({"name": "Safe answers"}, "name")):
        answer = client.post(projects, values, content_type="application/json")
        assert answer.status_code == 400 and list(answer.json()) == [field], values
