"""Looking back at one's answers and changing one, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import BrowserContext, Page, expect

from annotate.models import Choice, Comparison, Judgment, Project
from tests.annotate.test_undo import judge
from tests.e2e.conftest import SignIn, check_axe


@pytest.fixture
def address(live_server: Any, project: Project) -> str:
    return f"{live_server.url}/projects/{project.slug}/compare/"


def get_votes() -> list[str]:
    rows = Judgment.objects.filter(action="vote", superseded_by=None).order_by("comparison_id")
    return [row.choice for row in rows]


@pytest.fixture
def at_work(
    sign_in_browser: SignIn, labeler: User, page: Page, project: Project, comparisons: list[Comparison], address: str
) -> Page:
    """The labeler's page with the third of four pairs; they have answered two."""
    for choice in (Choice.LEFT_SLIGHTLY, Choice.UNSURE):
        judge(labeler, project, choice)
    sign_in_browser(labeler)
    page.goto(address)
    expect(page.get_by_text("Question 3?")).to_be_visible()
    return page


def reopen_first(page: Page) -> None:
    page.keyboard.press("h")
    expect(page.get_by_role("heading", name="My answers")).to_be_visible()
    page.get_by_role("button", name="Change").last.click()
    expect(page.get_by_text("Question 1?")).to_be_visible()


def test_an_answer_is_found_by_key_and_changed_and_the_pair_held_is_still_there(at_work: Page) -> None:
    page = at_work
    page.keyboard.press("6")  # begun with the third pair
    reopen_first(page)
    check_axe(page)
    expect(page.get_by_label("Left is slightly better")).to_be_checked()
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Your answer is changed.")).to_be_visible()
    expect(page.get_by_text("Question 3?")).to_be_visible()
    expect(page.get_by_label("Right is slightly better")).to_be_checked()
    assert get_votes() == ["left_negligibly", "unsure"]


def test_an_edit_that_is_left_changes_nothing(at_work: Page, address: str) -> None:
    reopen_first(at_work)
    at_work.keyboard.press("7")
    at_work.reload()
    expect(at_work.get_by_label("Right is significantly better")).to_be_checked()
    at_work.get_by_role("link", name="Leave it as it is").click()
    expect(at_work.get_by_role("heading", name="Left is slightly better")).to_be_visible()
    assert get_votes() == ["left_slightly", "unsure"]


def test_a_change_made_offline_is_sent_when_the_connection_is_back(at_work: Page, context: BrowserContext) -> None:
    reopen_first(at_work)
    context.set_offline(True)
    at_work.keyboard.press("7")
    at_work.keyboard.press("Enter")
    expect(at_work.get_by_role("alert")).to_contain_text("kept on this device")
    assert get_votes() == ["left_slightly", "unsure"]
    context.set_offline(False)
    expect(at_work.get_by_text("Your answer is changed.")).to_be_visible()
    assert get_votes() == ["right_significantly", "unsure"]


def test_the_list_is_searched_and_has_no_barrier(at_work: Page) -> None:
    at_work.keyboard.press("h")
    at_work.get_by_label("In the texts").fill("question 2")
    at_work.get_by_role("button", name="Show").click()
    expect(at_work.get_by_text("1 answer", exact=True)).to_be_visible()
    at_work.locator("summary").click()
    expect(at_work.get_by_text("Second answer to question 2.")).to_be_visible()
    check_axe(at_work)
