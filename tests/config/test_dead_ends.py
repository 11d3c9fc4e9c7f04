"""What cannot be answered says so on a page of ours, and a login leads back to a page that there is."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

SignIn = Callable[[User], Client]
CANCEL = "/runs/2/cancel/"


@pytest.mark.parametrize(
    ("referer", "back"),
    [
        ("http://testserver/runs/2/?page=3#log", "/runs/2/?page=3"),
        ("http://elsewhere.example/runs/2/", "/"),
        ("https://testserver/runs/2/", "/"),
        ("http://testserver", "/"),
        ("nonsense", "/"),
        ("http://[broken", "/"),
        ("http://testserver//elsewhere.example/", "/"),
        ("", "/"),
    ],
)
def test_after_a_form_the_login_leads_back_to_its_page(client: Client, db: None, referer: str, back: str) -> None:
    answer = client.post(CANCEL, headers={"referer": referer} if referer else {})
    target = urlsplit(answer["Location"])
    assert (answer.status_code, target.path) == (302, reverse("account_login"))
    assert parse_qs(target.query)["next"] == [back]


def test_after_a_page_the_login_leads_back_to_it(client: Client, db: None) -> None:
    assert client.get("/runs/?page=2")["Location"] == "/accounts/login/?next=/runs/%3Fpage%3D2"


@pytest.mark.parametrize("path", [CANCEL, "/language/", "/accounts/me/tokens/x/revoke/"])
def test_a_wrong_method_gets_a_page(sign_in: SignIn, admin: User, path: str) -> None:
    answer = sign_in(admin).get(path)
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    page = answer.content.decode()
    assert "only takes what a form sends" in page and f'href="{reverse("home")}"' in page and "Plumbline" in page


def test_a_wrong_method_of_the_api_stays_json(sign_in: SignIn, admin: User) -> None:
    answer = sign_in(admin).put(reverse("api_project_list"))
    assert answer.status_code == 405 and "PUT" in answer.json()["detail"]


def test_a_form_from_before_the_login_says_what_to_do(admin: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.get(reverse("account_login"))
    old = client.cookies["csrftoken"].value
    client.force_login(admin)
    client.cookies["csrftoken"] = "x" * len(old)
    answer = client.post(reverse("person_add"), {"username": "nora", "csrfmiddlewaretoken": old})
    page = answer.content.decode()
    assert answer.status_code == 403 and "before you last signed in" in page and "To the start page" in page
    assert not User.objects.filter(username="nora").exists()


def test_the_api_documentation_leads_a_browser_to_the_login(client: Client, sign_in: SignIn, labeler: User) -> None:
    docs = reverse("api_docs")
    answer = client.get(docs, headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert answer["Location"] == f"{reverse('account_login')}?next={docs}"
    assert client.get(docs).status_code == 401
    answer = sign_in(labeler).get(docs, headers={"accept": "text/html"})
    assert answer.status_code == 200 and "swagger-ui" in answer.content.decode()


@pytest.mark.parametrize(
    "path",
    [
        f"/models/{2**63}/retry/",
        f"/models/{2**63}/cancel/",
        f"/comparisons/{2**63}/gold/retire/",
        f"/lineage/model/{2**63}/",
        f"/api/v1/lineage/dataset/{2**63}/",
        "/accounts/me/tokens/%00/revoke/",
    ],
)
def test_a_number_or_text_that_no_row_can_have_is_not_found(sign_in: SignIn, admin: User, path: str) -> None:
    client = sign_in(admin)
    answer = client.get(path) if "lineage" in path else client.post(path)
    assert answer.status_code == 404
