"""Reviewing in a real browser: a whole adjudication by keyboard, without a script, on a phone, and what axe finds."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect

from annotate.models import (
    Adjudication,
    BlindAnswer,
    Comparison,
    Flag,
    Judgment,
    Project,
    Response,
)
from annotate.selectors.review import see_pair
from annotate.services.projects import add_member, update_project
from tests.annotate.votes import vote
from tests.conftest import MakeComparison
from tests.e2e.conftest import SignIn, add_session, check_axe, photograph
from tests.scenery import make_model


@pytest.fixture
def contested(project: Project, comparisons: list[Comparison], labeler: User, teammate: User) -> list[Comparison]:
    """Two pairs on which two votes differ, the second one flagged."""
    for comparison in comparisons[:2]:
        vote(comparison, labeler, "a", rationale="The first one says how long.")
        vote(comparison, teammate, "b", "significantly")
    Flag.objects.create(comparison=comparisons[1], labeler=labeler, reason="broken", note="It ends in the middle.")
    return comparisons[:2]


def test_a_whole_adjudication_by_keyboard(
    sign_in_browser: SignIn, reviewer: User, page: Page, contested: list[Comparison], project: Project, live_server: Any
) -> None:
    sign_in_browser(reviewer)
    page.goto(f"{live_server.url}/projects/{project.slug}/review/")
    expect(page.get_by_role("link", name="Conflicts 2")).to_have_attribute("aria-current", "page")
    check_axe(page)
    photograph(page, "queue")
    link = page.get_by_role("link", name="Question 1?")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("First your own answer")).to_be_visible()
    expect(page.get_by_text("teammate")).to_have_count(0)
    expect(page.locator("input[name=choice]:checked")).to_have_count(0)
    check_axe(page)
    photograph(page, "blind")
    page.keyboard.press("Enter")
    assert not BlindAnswer.objects.exists()
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="What was said of it")).to_be_visible()
    expect(page.get_by_role("rowheader", name="teammate")).to_be_visible()
    expect(page.get_by_text("The first one says how long.")).to_be_visible()
    expect(page.get_by_label("Left is slightly better")).to_be_checked()
    check_axe(page)
    photograph(page, "votes")
    # Revised: the other side, with a note; the next pair of the queue follows.
    page.keyboard.press("6")
    page.keyboard.press("r")
    page.keyboard.type("It names the time, 7 minutes.")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Comparison 1 is decided.".replace("1", str(contested[0].pk)))).to_be_visible()
    expect(page.get_by_text("Question 2?")).to_be_visible()
    first = Adjudication.objects.get()
    left = see_pair(contested[0], reviewer).left_response
    assert (first.winner, first.note) == ({"a": "b", "b": "a"}[left], "It names the time, 7 minutes.")
    assert first.blind and first.blind.winner == left
    # Confirmed by Enter alone; the flag goes with it.
    page.keyboard.press("u")
    page.keyboard.press("Enter")
    expect(page.get_by_text("It ends in the middle.")).to_be_visible()
    photograph(page, "votes-flagged")
    page.get_by_label("Drop this pair: it is broken").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Nothing is decided yet.").or_(page.get_by_role("link", name="Decided 2"))).to_be_visible()
    assert Adjudication.objects.latest("pk").dropped and not Flag.objects.filter(resolved_at=None).exists()


def test_without_javascript(
    browser: Browser, live_server: Any, reviewer: User, contested: list[Comparison], project: Project
) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    add_session(context, live_server.url, reviewer)
    page = context.new_page()
    page.goto(f"{live_server.url}/projects/{project.slug}/review/?kind=flag")
    page.get_by_role("link", name="Question 2?").click()
    page.get_by_label("Unsure").check()
    page.get_by_role("button", name="Show the votes").click()
    page.get_by_label("Right is slightly better").check()
    page.get_by_role("button", name="Decide").click()
    expect(page.get_by_role("link", name="Flags 0")).to_be_visible()
    context.close()
    assert Adjudication.objects.get().grade == "slightly"


@pytest.fixture
def figures(project: Project, make_comparison: MakeComparison, labeler: User, teammate: User, admin: User) -> Project:
    """A project with figures for everybody, two models, and a log."""
    models = [make_model(admin, name=name) for name in ("first-model", "second-model")]
    for number in range(24):
        pair = make_comparison(need=3)
        for person, winner in ((labeler, "a"), (teammate, "ab"[number % 3 == 0]), (admin, "ab"[number % 5 == 0])):
            said = vote(pair, person, winner, "slightly" if number % 2 else "significantly")
            Judgment.objects.filter(pk=said.pk).update(seconds=4.0 + number % 7)
        for response, model in zip((pair.response_a, pair.response_b), models, strict=True):
            Response.objects.filter(pk=response.pk).update(model=model)
    project.votes_per_comparison, project.question = 3, "Which answer helps a cook more?"
    update_project(project=project, archived=False, by=admin)
    add_member(project=project, user=User.objects.create_user("newcomer"), by=admin)
    return project


@pytest.mark.parametrize("name", ["labeler", "quality", "audit", "own"])
def test_pages_of_figures_have_nothing_for_axe(
    name: str, sign_in_browser: SignIn, page: Page, figures: Project, labeler: User, admin: User, live_server: Any
) -> None:
    sign_in_browser(labeler if name == "own" else admin)
    part = f"labelers/{labeler.pk}" if name in ("labeler", "own") else name
    page.goto(f"{live_server.url}/projects/{figures.slug}/{part}/")
    heading = {"labeler": "labeler", "own": "My figures", "quality": "Label quality", "audit": "Audit log"}[name]
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    check_axe(page)
    photograph(page, name)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
