"""The next pair at once in a real browser: what was guessed comes true, or gives way before anything is answered."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, Response, Route, expect

from annotate.models import Assignment, Comparison, Judgment, Project
from tests.annotate.test_next_comparison import hand_out
from tests.e2e.conftest import SignIn, wait_until_stored


@pytest.fixture
def address(live_server: Any, project: Project) -> str:
    return f"{live_server.url}/projects/{project.slug}/compare/"


@pytest.fixture
def at_work(sign_in_browser: SignIn, labeler: User, page: Page, comparisons: list[Comparison], address: str) -> Page:
    """The labeler's page with the first of four pairs, the second fetched ahead."""
    sign_in_browser(labeler)
    with page.expect_response(is_ahead) as fetched:
        page.goto(address)
    fetched.value.finished()
    # Its text reaches the script a task later; two frames are more than that.
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page


def is_ahead(response: Response) -> bool:
    return "/ahead/" in response.url


def hold_answers(page: Page) -> list[Route]:
    """Answers that are sent wait here until the test lets them go."""
    held: list[Route] = []
    page.route("**/compare/", lambda route: held.append(route))
    return held


def let_go(page: Page, held: list[Route]) -> None:
    """The next pair may be seen before the answer has reached the gate."""
    while not held:
        page.wait_for_timeout(20)
    held.pop().continue_()


def get_votes() -> list[str]:
    rows = Judgment.objects.filter(action="vote", superseded_by=None).order_by("id")
    return [row.choice for row in rows]


def test_the_next_pair_stands_there_before_the_answer_has_arrived(at_work: Page, labeler: User) -> None:
    page, held = at_work, hold_answers(at_work)
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    expect(page.locator("#prompt-title")).to_be_focused()
    expect(page.locator("input[name=choice]:checked")).to_have_count(0)
    assert not Judgment.objects.exists()
    left = page.locator("#left-text").inner_text()
    page.keyboard.press("7")
    page.keyboard.press("Enter")  # waits until the pair is really theirs
    expect(page.locator("#desk")).to_have_class("is-waiting")
    page.keyboard.press("1")
    expect(page.get_by_label("Right is significantly better")).to_be_checked()
    let_go(page, held)
    page.unroute_all()
    expect(page.get_by_text("Question 3?")).to_be_visible()
    second = Judgment.objects.get(comparison__prompt__messages__0__content="Question 2?")
    shown = second.comparison.response_a if second.left_response == "a" else second.comparison.response_b
    assert (left, get_votes()) == (shown.text, ["left_slightly", "right_significantly"])


def test_a_pair_that_somebody_else_took_gives_way(at_work: Page, teammate: User, project: Project) -> None:
    page, held = at_work, hold_answers(at_work)
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    page.keyboard.press("7")
    hand_out(teammate, project)
    let_go(page, held)
    expect(page.get_by_text("Question 3?")).to_be_visible()
    expect(page.locator("input[name=choice]:checked")).to_have_count(0)
    expect(page.locator("#announcer")).to_have_text("Saved. 2 pairs left.")
    assert get_votes() == ["left_slightly"]


def test_a_refused_answer_comes_back_as_it_was(at_work: Page) -> None:
    page, held = at_work, hold_answers(at_work)
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    Project.objects.update(rationale="required")
    let_go(page, held)
    expect(page.get_by_role("alert")).to_contain_text("Say in a few words why.")
    expect(page.get_by_text("Question 1?")).to_be_visible()
    expect(page.get_by_label("Left is slightly better")).to_be_checked()
    page.unroute_all()
    page.get_by_label("Why, in your words").fill("It is.")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    expect(page.locator("#announcer")).to_have_text("Saved. 3 pairs left.")
    assert get_votes() == ["left_slightly"]


def test_a_skip_typed_before_the_answer_has_arrived_is_kept(at_work: Page) -> None:
    page, held = at_work, hold_answers(at_work)
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    page.keyboard.press("s")
    page.keyboard.press("Space")
    page.keyboard.press("Control+Enter")
    assert not Judgment.objects.exists()
    let_go(page, held)
    expect(page.get_by_text("Question 3?")).to_be_visible()
    wait_until_stored(page)
    assert [row.action for row in Judgment.objects.order_by("id")] == ["vote", "skip"]


def test_an_undo_is_heard_once_the_answer_has_arrived(at_work: Page) -> None:
    page, held = at_work, hold_answers(at_work)
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    page.keyboard.press("z")  # there is nothing yet to take back
    let_go(page, held)
    wait_until_stored(page)
    assert get_votes() == ["left_slightly"]
    page.keyboard.press("z")
    expect(page.get_by_text("Question 1?")).to_be_visible()
    assert get_votes() == []


def test_at_the_end_nothing_is_guessed(at_work: Page) -> None:
    for number in (2, 3, 4):
        at_work.keyboard.press("4")
        at_work.keyboard.press("Enter")
        expect(at_work.get_by_text(f"Question {number}?")).to_be_visible()
    at_work.keyboard.press("4")
    at_work.keyboard.press("Enter")
    expect(at_work.get_by_role("heading", name="Nothing left for you")).to_be_focused()
    assert get_votes() == ["unsure"] * 4
    assert Assignment.objects.count() == 4
