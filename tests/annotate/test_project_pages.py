"""Projects and members on their pages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from annotate.models import Comparison, Project
from tests.annotate.votes import vote

SignIn = Callable[[User], Client]
FORM = {"name": "Tea", "question": "Which is better?", "votes_per_comparison": "2"}


def test_list_shows_each_person_their_projects(
    sign_in: SignIn, admin: User, labeler: User, outsider: User, project: Project, comparisons: list[Comparison]
) -> None:
    vote(comparisons[0], labeler).assignment.__class__.objects.update(holds_place=True)
    Project.objects.create(name="Secret soup", slug="secret-soup", created_by=admin)
    url = reverse("project_list")
    page = sign_in(labeler).get(url).content.decode()
    assert "Kitchen help" in page and "1 vote of yours" in page and "Secret soup" not in page
    assert "You are in no project yet" in sign_in(outsider).get(url).content.decode()
    page = sign_in(admin).get(url).content.decode()
    assert "1 of 4 votes" in page and "Secret soup" in page and "No comparisons yet" in page and "New project" in page


def test_archived_projects_are_for_admins_alone(sign_in: SignIn, admin: User, labeler: User, project: Project) -> None:
    url = reverse("project_edit", args=[project.slug])
    form = FORM | {"name": project.name, "archived": "on"}
    assert sign_in(admin).post(url, form).status_code == 302
    assert "Archived" in sign_in(admin).get(reverse("project_list")).content.decode()
    assert "Kitchen help" not in sign_in(labeler).get(reverse("project_list")).content.decode()
    sign_in(admin).post(url, FORM | {"name": project.name})
    project.refresh_from_db()
    assert project.archived_at is None and project.votes_per_comparison == 2


def test_overview_leads_labelers_to_comparing_and_admins_to_the_data(
    sign_in: SignIn, admin: User, labeler: User, outsider: User, project: Project, comparisons: list[Comparison]
) -> None:
    url = reverse("project_detail", args=[project.slug])
    page = sign_in(labeler).get(url).content.decode()
    assert "Start comparing" in page and "<strong>good cook</strong>" in page and "Imports" not in page
    page = sign_in(admin).get(url).content.decode()
    assert "4 comparisons, 4 prompts" in page and "2 members" in page
    assert sign_in(outsider).get(url).status_code == 404


def test_empty_project_says_what_to_do(sign_in: SignIn, admin: User, labeler: User, project: Project) -> None:
    url = reverse("project_detail", args=[project.slug])
    assert "An admin will bring comparisons in" in sign_in(labeler).get(url).content.decode()
    assert "Import comparisons" in sign_in(admin).get(url).content.decode()


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Green Tea", "green-tea"), ("녹차", "project"), ("New", "new-2"), ("Kitchen Help!", "kitchen-help-2")],
)
def test_short_name_is_made_of_the_name(sign_in: SignIn, admin: User, project: Project, name: str, slug: str) -> None:
    response = sign_in(admin).post(reverse("project_create"), FORM | {"name": name})
    made = Project.objects.get(name=name)
    assert response["Location"] == reverse("project_detail", args=[made.slug])
    assert (made.slug, made.created_by, made.votes_per_comparison) == (slug, admin, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "Kitchen help"},
        {"slug": "kitchen-help"},
        {"slug": "no blanks"},
        {"slug": "new"},
        {"votes_per_comparison": "0"},
        {"votes_per_comparison": "21"},
        {"name": "x" * 101},
        {"scale": "five"},
        {"settled_at": "0.4"},
        {"settled_at": "nan"},
        {"max_votes": "21"},
        {"languages": "en, klingon!"},
        {"languages": ",".join(f"aa-{n:02}" for n in range(21))},
    ],
)
def test_bad_values_are_answered_beside_their_field(
    sign_in: SignIn, admin: User, project: Project, wrong: dict[str, str]
) -> None:
    response = sign_in(admin).post(reverse("project_create"), FORM | wrong)
    assert response.status_code == 422 and "text-error" in response.content.decode()
    assert Project.objects.count() == 1


def test_settings_of_the_answers_are_stored_and_shown_again(sign_in: SignIn, admin: User, project: Project) -> None:
    client, url = sign_in(admin), reverse("project_edit", args=[project.slug])
    said = {"scale": "four", "allows_equal": "on", "allows_both_bad": "on", "languages": "ko, en,, en"}
    assert client.post(url, FORM | {"name": project.name, "shows_lengths": "on"} | said).status_code == 302
    project.refresh_from_db()
    assert (project.scale, project.allows_equal, project.allows_both_bad) == ("four", True, True)
    assert project.shows_lengths and project.languages == ["ko", "en"]
    assert 'value="ko, en"' in client.get(url).content.decode()
    for empty in (
        {},
        {"scale": "", "rationale": "", "settled_at": ""},
    ):  # what a request leaves out stays, but for ticks
        assert client.post(url, FORM | {"name": project.name} | empty).status_code == 302
        project.refresh_from_db()
        assert (project.scale, project.allows_equal) == ("four", False)
        assert (project.rationale, project.settled_at, project.max_votes) == ("off", 0.9, None)


def test_members_come_and_go_and_their_votes_stay(
    sign_in: SignIn, admin: User, labeler: User, outsider: User, project: Project, comparisons: list[Comparison]
) -> None:
    vote(comparisons[0], labeler)
    client, url = sign_in(admin), reverse("member_list", args=[project.slug])
    page = client.post(url, {"user": outsider.pk}, follow=True).content.decode()
    assert "outsider may label here now" in page and project.members.filter(pk=outsider.pk).exists()
    assert client.post(url, {"user": outsider.pk}).status_code == 422  # is one already
    page = client.post(reverse("member_remove", args=[project.slug, labeler.pk]), follow=True).content.decode()
    assert "no longer labels here" in page and not project.members.filter(pk=labeler.pk).exists()
    assert project.judgments.count() == 1
    assert client.post(reverse("member_remove", args=[project.slug, labeler.pk])).status_code == 302
    assert client.post(reverse("member_remove", args=[project.slug, 999_999])).status_code == 404


def test_labelers_change_nothing(sign_in: SignIn, labeler: User, outsider: User, project: Project) -> None:
    client = sign_in(labeler)
    assert client.get(reverse("project_create")).status_code == 403
    assert client.post(reverse("project_create"), FORM).status_code == 403
    assert client.post(reverse("project_edit", args=[project.slug]), FORM).status_code == 403
    assert client.post(reverse("member_list", args=[project.slug]), {"user": outsider.pk}).status_code == 403
    project.refresh_from_db()
    assert project.name == "Kitchen help" and project.members.count() == 2


@pytest.mark.parametrize("name", ["\u202e", "Tea\u202egnirb", "Tea\u200bpot", "\u3164", "\u2800 \u2800"])
def test_a_name_that_cannot_be_read_is_refused(sign_in: SignIn, admin: User, project: Project, name: str) -> None:
    client = sign_in(admin)
    for url in (reverse("project_create"), reverse("project_edit", args=[project.slug])):
        answer = client.post(url, FORM | {"name": name})
        assert answer.status_code == 422 and "cannot be shown" in answer.content.decode()
    assert list(Project.objects.values_list("name", flat=True)) == ["Kitchen help"]


@pytest.mark.parametrize("name", ["부엌", "مطبخ", "Crème brûlée 🍮"])
def test_names_of_all_scripts_are_taken(sign_in: SignIn, admin: User, name: str) -> None:
    assert sign_in(admin).post(reverse("project_create"), FORM | {"name": name}).status_code == 302
