"""Gold in a real browser: not qualified, paused, appealing, reinstated, at work again; and what axe finds."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect

from annotate.models import Assignment, Grade, Judgment, Project
from annotate.services.gold import make_gold
from tests.conftest import MakeComparison
from tests.e2e.conftest import SignIn, add_session, check_axe, photograph


@pytest.fixture
def gold_project(project: Project, admin: User, make_comparison: MakeComparison) -> Project:
    project.qualification_pairs = 2
    project.save()
    for _number in range(2):
        make_gold(
            comparison=make_comparison(),
            winner="a",
            grade=Grade.SIGNIFICANTLY,
            explanation="Only the first one says how long.",
            by=admin,
        )
    for _number in range(3):
        make_comparison()
    return project


def wait_for_votes(page: Page, labeler: User, count: int) -> None:
    """The next pair stands there before the answer to the last one is stored."""
    for _look in range(100):
        if Judgment.objects.filter(labeler=labeler).count() == count:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never {count} votes")


def test_failed_paused_appealed_reinstated_and_at_work_again(
    sign_in_browser: SignIn,
    browser: Browser,
    gold_project: Project,
    labeler: User,
    admin: User,
    page: Page,
    live_server: Any,
) -> None:
    desk = f"{live_server.url}/projects/{gold_project.slug}/compare/"
    sign_in_browser(labeler)
    page.goto(desk)
    expect(page.get_by_text("Left for you")).to_be_visible()
    for number, left in enumerate((4, 3), start=1):
        held = Assignment.objects.get(state="leased")
        page.keyboard.press("7" if held.left_response == "a" else "1")
        page.keyboard.press("Enter")
        expect(page.locator("dd", has_text=str(left)).first).to_be_visible()
        wait_for_votes(page, labeler, number)
        expect(page.locator(f"#desk[data-token='{held.token}']")).to_have_count(0)
    expect(page.get_by_role("heading", name="Your work here is paused")).to_be_visible()
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    assert "gold" not in page.content().lower()
    check_axe(page)
    photograph(page, "paused")
    page.get_by_label("Your appeal").fill("The second answers were both safer.\nPlease look again.")
    page.get_by_role("button", name="Send the appeal").click()
    expect(page.get_by_text("The reviewers have it.")).to_be_visible()
    check_axe(page)
    photograph(page, "appealed")

    context = browser.new_context(viewport={"width": 1280, "height": 800})
    add_session(context, live_server.url, admin)
    review = context.new_page()
    review.goto(f"{live_server.url}/projects/{gold_project.slug}/gold/")
    check_axe(review)
    photograph(review, "gold")
    review.get_by_role("link", name="Change").first.click()
    expect(review.get_by_label("Known answer")).to_have_value("left_significantly")
    check_axe(review)
    photograph(review, "known-answer")
    review.goto(f"{live_server.url}/projects/{gold_project.slug}/standings/")
    check_axe(review)
    photograph(review, "records")
    review.get_by_role("link", name="labeler", exact=True).click()
    expect(review.get_by_text("The second answers were both safer.")).to_be_visible()
    check_axe(review)
    photograph(review, "record")
    review.get_by_label("Words to the labeler").fill("Fair enough. Mind part 2 of the guidelines.")
    review.get_by_role("button", name="Reinstate").click()
    expect(review.get_by_text("The decision is stored")).to_be_visible()
    review.goto(f"{live_server.url}/projects/{gold_project.slug}/edit/")
    review.get_by_label("gold pairs to qualify").scroll_into_view_if_needed()
    photograph(review, "settings")
    context.close()

    page.goto(desk)
    expect(page.get_by_role("heading", name="Left response")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator("dd", has_text="2").first).to_be_visible()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    wait_for_votes(page, labeler, 3)
    assert Judgment.objects.filter(labeler=labeler).latest("pk").assignment.kind == "ordinary"
