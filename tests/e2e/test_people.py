"""The page People on a phone: what can be done lies in sight, and asks before it is done."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Browser, Locator

from annotate.models import Membership, Project
from tests.e2e.conftest import add_session

WIDTH = 390


def is_in_sight(thing: Locator) -> bool:
    """Whether all of its width can be seen without scrolling sideways."""
    box = thing.bounding_box()
    return box is not None and box["x"] >= 0 and box["x"] + box["width"] <= WIDTH


def test_a_row_and_its_questions_fit_on_a_phone(
    browser: Browser, live_server: Any, admin: User, labeler: User, project: Project
) -> None:
    other = Project.objects.create(name="Questions of the garden in all seasons", slug="garden", created_by=admin)
    Membership.objects.create(project=other, user=labeler)
    context = browser.new_context(viewport={"width": WIDTH, "height": 800}, locale="en-GB")
    add_session(context, live_server.url, admin)
    page = context.new_page()
    page.goto(live_server.url + reverse("person_list"))
    row = page.locator("li", has=page.get_by_text("labeler", exact=True))
    for button, question in (("New password…", "Make a new password"), ("Close…", "Close the account")):
        ask, answer = row.get_by_role("button", name=button), row.get_by_role("button", name=question, exact=True)
        assert is_in_sight(ask) and answer.is_hidden(), button
        ask.click()
        assert is_in_sight(page.get_by_role("dialog")), question
        page.keyboard.press("Escape")
        assert answer.is_hidden(), question
    row.get_by_role("button", name="Close…").click()
    page.get_by_role("button", name="Close the account", exact=True).click()
    assert row.get_by_text("Closed").is_visible()
    context.close()
