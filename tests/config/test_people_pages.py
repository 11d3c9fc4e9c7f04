"""The page People: making and closing accounts, and passwords that are shown once."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from knox.models import AuthToken

from annotate.models import Project

SignIn = Callable[[User], Client]


@pytest.mark.parametrize("number", ["999", str(2**63), "9" * 400, "x", "\0"])
def test_a_project_that_does_not_exist_is_no_choice(
    sign_in: SignIn, admin: User, project: Project, number: str
) -> None:
    answer = sign_in(admin).post(reverse("person_add"), {"username": "nora", "projects": [number, str(project.pk)]})
    assert "text-error" in answer.content.decode()
    assert not User.objects.filter(username="nora").exists()


def find_secret(page: str) -> str:
    found = re.search(r'id="new-(?:password|token)">([^<]+)<', page)
    return found[1] if found else ""


def test_a_first_password_is_shown_once_at_an_address_that_can_be_loaded_again(sign_in: SignIn, admin: User) -> None:
    client = sign_in(admin)
    answer = client.post(reverse("person_add"), {"username": "nora"})
    assert answer["Location"] == reverse("person_list")
    client.head(answer["Location"])
    page = client.get(answer["Location"])
    assert "no-store" in page["Cache-Control"] and "Password of nora" in page.content.decode()
    password = find_secret(page.content.decode())
    assert User.objects.get(username="nora").check_password(password)
    assert find_secret(client.get(answer["Location"]).content.decode()) == ""
    assert password not in str(dict(client.session))


def test_a_new_password_is_shown_once(sign_in: SignIn, admin: User, labeler: User) -> None:
    client = sign_in(admin)
    page = client.post(reverse("person_reset_password", args=[labeler.pk]), follow=True).content.decode()
    labeler.refresh_from_db()
    assert labeler.check_password(find_secret(page))
    assert find_secret(client.get(reverse("person_list")).content.decode()) == ""


def test_a_token_is_shown_once_and_its_day_stays(sign_in: SignIn, labeler: User, client: Client) -> None:
    answer = sign_in(labeler).post(reverse("token_create"), {"days": "7"})
    assert answer["Location"] == reverse("account")
    token = find_secret(client.get(answer["Location"]).content.decode())
    assert Client().get("/api/v1/projects/", headers={"authorization": f"Token {token}"}).status_code == 200
    AuthToken.objects.update(created=datetime(2026, 3, 4, 12, tzinfo=UTC))
    page = client.get(answer["Location"]).content.decode()
    assert find_secret(page) == "" and re.search(r"made <time [^>]+>4 Mar 2026</time>", page)


def test_what_was_typed_wrongly_is_answered_by_422(sign_in: SignIn, admin: User, labeler: User) -> None:
    client = sign_in(admin)
    for url, form in (
        (reverse("person_add"), {"username": "no spaces, please"}),
        (reverse("person_add"), {"username": "labeler"}),
        (reverse("token_create"), {"days": "8"}),
    ):
        answer = client.post(url, form)
        assert answer.status_code == 422 and "text-error" in answer.content.decode()
        # The language button on that page leads to its address by GET.
        assert client.get(url, follow=True).status_code == 200
    assert not AuthToken.objects.exists()


@pytest.mark.parametrize("name", ["LABELER", "Labeler", "\uff4cabeler"])
def test_a_name_that_differs_only_in_case_is_taken_and_locks_nobody_out(
    sign_in: SignIn, admin: User, labeler: User, name: str
) -> None:
    answer = sign_in(admin).post(reverse("person_add"), {"username": name})
    assert answer.status_code == 422 and "is taken" in answer.content.decode()
    labeler.set_password("labeler's own password")
    labeler.save()
    form = {"login": "labeler", "password": "labeler's own password"}
    assert Client().post(reverse("account_login"), form).status_code == 302


def test_new_passwords_and_closing_ask_first_and_not_on_ones_own_row(
    sign_in: SignIn, admin: User, labeler: User
) -> None:
    page = sign_in(admin).get(reverse("person_list")).content.decode()
    for name in ("person_reset_password", "person_set_active"):
        form = re.search(rf'<form id="([^"]+)" popover [^>]*action="{reverse(name, args=[labeler.pk])}"', page)
        assert form and f'popovertarget="{form[1]}">' in page, name
        assert reverse(name, args=[admin.pk]) not in page


def test_ones_own_password_and_account_are_left_alone(sign_in: SignIn, admin: User) -> None:
    client = sign_in(admin)
    page = client.post(reverse("person_reset_password", args=[admin.pk]), follow=True).content.decode()
    assert "on the page of your account" in page and find_secret(page) == ""
    page = client.post(reverse("person_set_active", args=[admin.pk]), {"active": "0"}, follow=True).content.decode()
    assert "cannot close your own" in page
    admin.refresh_from_db()
    assert admin.is_active and admin.check_password("admin's password")


@pytest.mark.parametrize("form", [{}, {"active": ""}, {"active": "2"}, {"active": "false"}])
def test_closing_takes_no_guess(sign_in: SignIn, admin: User, labeler: User, form: dict[str, str]) -> None:
    answer = sign_in(admin).post(reverse("person_set_active", args=[labeler.pk]), form)
    assert answer.status_code == 400 and "0 or 1" in answer.content.decode()
    labeler.refresh_from_db()
    assert labeler.is_active


def test_an_account_is_closed_and_opened(sign_in: SignIn, admin: User, labeler: User) -> None:
    client, url = sign_in(admin), reverse("person_set_active", args=[labeler.pk])
    for value, active in (("0", False), ("1", True)):
        client.post(url, {"active": value})
        labeler.refresh_from_db()
        assert labeler.is_active is active
