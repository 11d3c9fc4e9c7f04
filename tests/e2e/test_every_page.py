"""No serious barrier on any page, for each kind of person who may open it: the routes of the permission matrix."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Page

from annotate.models import Membership, Project
from tests.e2e.conftest import SignIn
from tests.test_permission_matrix import MATRIX, World, may, world

__all__ = ["world"]


def list_pages(person: str) -> list[str]:
    """Not Swagger's own page of the API, which takes minutes to look through."""
    routes = [name for name in MATRIX if not name.startswith("api_")]
    return [name for name in routes if may(person, MATRIX[name], "GET")]


@pytest.mark.parametrize("person", ["anonymous", "labeler", "reviewer", "lead", "admin"])
def test_no_page_has_a_serious_barrier(
    person: str,
    world: World,
    project: Project,
    labeler: User,
    admin: User,
    sign_in_browser: SignIn,
    page: Page,
    live_server: Any,
) -> None:
    if person != "anonymous":
        user = {"labeler": labeler, "admin": admin}.get(person) or User.objects.create_user(person)
        if person in ("reviewer", "lead"):
            Membership.objects.create(project=project, user=user, role=person)
        sign_in_browser(user)
    found, looked_at = [], 0
    for name in list_pages(person):
        url = live_server.url + reverse(name, args=world.arguments[MATRIX[name].args])
        answer = page.request.get(url)
        if not answer.ok or "<html" not in answer.text():
            continue  # a file, a part of a page, an answer to a question that was not asked
        page.goto(url)
        looked_at += 1
        for problem in Axe().run(page).response["violations"]:
            if problem["impact"] in ("serious", "critical"):
                found.append(f"{name}: {problem['id']}: {[node['html'][:120] for node in problem['nodes'][:3]]}")
    assert not found, "\n".join(found)
    assert looked_at >= {"anonymous": 3, "labeler": 6, "reviewer": 7, "lead": 11, "admin": 25}[person]
