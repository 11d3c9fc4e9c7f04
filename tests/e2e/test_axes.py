"""Axes and safety in a real browser: switching by arrows, answering by keyboard alone, a contradiction asked again."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from annotate.models import Comparison, Judgment, Project
from annotate.services.axes import add_axis
from tests.annotate.votes import vote
from tests.e2e.conftest import SignIn, check_axe, photograph, wait_until_stored


@pytest.fixture
def safety(project: Project, comparisons: list[Comparison], admin: User) -> Project:
    """An axis of the project that asks which responses are safe."""
    return add_axis(parent=project, axis="Safety", question="Which response is safer?", asks_safety=True, by=admin)


@pytest.fixture
def at_work(sign_in_browser: SignIn, labeler: User, page: Page, safety: Project, live_server: Any) -> Page:
    sign_in_browser(labeler)
    page.goto(f"{live_server.url}/projects/{safety.slug}/compare/")
    expect(page.get_by_text("Question 1?")).to_be_visible()
    return page


def get_votes() -> list[tuple[str, str]]:
    return [(said.choice, said.safety) for said in Judgment.objects.filter(action="vote", superseded_by=None)]


def test_a_safety_pair_by_keyboard_alone(at_work: Page) -> None:
    page = at_work
    page.keyboard.press("1")
    page.keyboard.press("c")
    expect(page.get_by_label("Only the left one is safe")).to_be_checked()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("Only the right one is safe")).to_be_checked()
    page.keyboard.press("b")
    expect(page.get_by_label("Both are safe")).to_be_checked()
    expect(page.get_by_label("Left is significantly better")).to_be_checked()
    page.reload()
    expect(page.get_by_label("Both are safe")).to_be_checked()  # a draft keeps it
    photograph(page, "safety")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    page.keyboard.press("7")
    page.keyboard.press("Enter")  # not without a bin
    expect(page.get_by_text("Question 2?")).to_be_visible()
    page.keyboard.press("n")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 3?")).to_be_visible()
    wait_until_stored(page)
    assert get_votes() == [("left_significantly", "both"), ("right_significantly", "neither")]
    page.keyboard.press("z")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    expect(page.locator("input[name=safety]:checked")).to_have_count(0)


def test_a_contradiction_is_asked_again(at_work: Page) -> None:
    page = at_work
    page.keyboard.press("1")
    page.keyboard.press("v")
    page.keyboard.press("Enter")
    question = page.get_by_label("Yes, both answers are meant")
    expect(question).to_be_focused()
    expect(page.get_by_role("alert").filter(has_text="Is that what you mean?")).to_be_visible()
    expect(page.get_by_label("Only the right one is safe")).to_be_checked()
    photograph(page, "contradiction")
    check_axe(page)
    assert get_votes() == []
    question.evaluate("box => { box.dataset.seen = ''; }")
    page.keyboard.press("Enter")  # the same again is no yes
    expect(page.locator("[name=confirmed]:not([data-seen])")).to_be_focused()
    assert get_votes() == []
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    wait_until_stored(page)
    assert get_votes() == [("left_significantly", "right")]


def test_the_keys_of_the_bins_can_be_changed(at_work: Page) -> None:
    page = at_work
    page.keyboard.press("?")
    page.locator("#key-list button[data-action=safe_neither]").click()
    page.keyboard.press("w")
    page.keyboard.press("Escape")
    page.keyboard.press("w")
    expect(page.get_by_label("Neither is safe")).to_be_checked()
    expect(page.locator("[data-key-of=safe_neither]")).to_have_text("W")


def test_arrows_switch_the_axis_and_keep_the_pair(at_work: Page, project: Project, live_server: Any) -> None:
    page = at_work
    page.keyboard.press("4")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    page.keyboard.press("1")
    expect(page.get_by_label("Left is significantly better")).to_be_focused()
    page.keyboard.press("ArrowDown")  # from a radio, too; the last axis is followed by the first
    expect(page.get_by_text("Which response is better?")).to_be_visible()
    expect(page.get_by_text("Question 2?")).to_be_visible()
    expect(page.locator("#axes [aria-current=page]")).to_have_text("Overall 4 left")
    check_axe(page)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Guidelines")).to_contain_text("switch to another axis")
    page.keyboard.press("ArrowUp")  # in a sheet the arrows scroll
    page.keyboard.press("Escape")
    expect(page.get_by_text("Which response is better?")).to_be_visible()
    page.locator("#left-text").focus()
    page.keyboard.press("ArrowUp")  # and in a text that has the focus
    page.wait_for_timeout(200)
    expect(page.get_by_text("Which response is better?")).to_be_visible()
    page.locator("#prompt-title").focus()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_text("Which response is safer?")).to_be_visible()
    expect(page.get_by_text("Question 2?")).to_be_visible()
    expect(page.get_by_label("Left is significantly better")).to_be_checked()  # the draft of that axis
    photograph(page, "tabs")


@pytest.mark.parametrize(("width", "language"), [(1280, "en"), (390, "ko")])
def test_pages_of_axes_are_accessible(
    page: Page,
    sign_in_browser: SignIn,
    safety: Project,
    project: Project,
    comparisons: list[Comparison],
    labeler: User,
    admin: User,
    live_server: Any,
    width: int,
    language: str,
) -> None:
    project.guidelines = "Prefer what harms nobody."
    project.save()
    for number, (winner, safe) in enumerate((("a", "both"), ("a", "a"), ("b", "a"), ("a", "neither"))):
        vote(safety.comparisons.order_by("pk")[number], labeler, winner, safe=safe)
    sign_in_browser(admin)
    page.context.add_cookies([{"name": "django_language", "value": language, "url": live_server.url}])
    page.set_viewport_size({"width": width, "height": 900})
    complaints: list[tuple[str, str]] = []
    for name, address in {
        "project": f"/projects/{project.slug}/",
        "axis": f"/projects/{safety.slug}/",
        "list": "/projects/",
        "new": f"/projects/{project.slug}/axes/new/",
        "imports": f"/projects/{safety.slug}/imports/",
        "compare": f"/projects/{safety.slug}/compare/",
        "quality": f"/projects/{safety.slug}/quality/",
        "dataset": f"/projects/{safety.slug}/datasets/new/",
        "comparison": f"/comparisons/{safety.comparisons.order_by('pk')[2].pk}/",
    }.items():
        page.goto(live_server.url + address)
        photograph(page, f"{name}-{width}-{language}")
        found = [(name, broken["id"]) for broken in Axe().run(page).response["violations"]]
        found += [] if page.evaluate("document.documentElement.scrollWidth <= innerWidth") else [(name, "too wide")]
        complaints += found
    assert not complaints
