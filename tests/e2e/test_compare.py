"""Comparing in a real browser: by keyboard, by touch, without JavaScript, twice at once, and without a connection."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

from annotate.models import Assignment, Choice, Comparison, Judgment, Project
from annotate.services.judgments import submit_judgment
from tests.conftest import MakeComparison
from tests.e2e.conftest import SignIn, add_session, check_axe, wait_until_stored

ARABIC = "كيف أطبخ الأرز؟\n\n- اغسل الأرز\n- أضف الماء"
KOREAN = "밥은 쌀을 씻고 물을 맞춘 뒤 **약한 불**에서 뜸을 들이면 됩니다."


@pytest.fixture
def address(live_server: Any, project: Project) -> str:
    return f"{live_server.url}/projects/{project.slug}/compare/"


@pytest.fixture
def at_work(sign_in_browser: SignIn, labeler: User, page: Page, comparisons: list[Comparison], address: str) -> Page:
    """The labeler's page with the first of four pairs."""
    sign_in_browser(labeler)
    page.goto(address)
    expect(page.get_by_role("heading", name="Prompt")).to_be_visible()
    return page


def get_votes() -> list[str]:
    rows = Judgment.objects.filter(action="vote", superseded_by=None).order_by("id")
    return [row.choice for row in rows]


def test_a_whole_session_by_keyboard_alone(at_work: Page) -> None:
    page = at_work
    page.evaluate("window.stays = true")
    expect(page.locator("input[name=choice]:checked")).to_have_count(0)
    page.keyboard.press("1")
    expect(page.get_by_label("Left is significantly better")).to_be_checked()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_label("Left is slightly better")).to_be_checked()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    expect(page.locator("#prompt-title")).to_be_focused()
    wait_until_stored(page)
    expect(page.locator("#announcer")).to_have_text("Saved. 3 pairs left.")
    expect(page.locator("input[name=choice]:checked")).to_have_count(0)
    # Undo, choose differently, submit from anywhere.
    page.keyboard.press("z")
    expect(page.get_by_text("Question 1?")).to_be_visible()
    page.keyboard.press("7")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    # Skip with a reason: letters typed into the note are no commands.
    page.keyboard.press("s")
    expect(page.get_by_role("dialog", name="Skip this pair")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.type("zu7?")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 3?")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Guidelines")).to_contain_text("good cook")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Guidelines")).to_be_hidden()
    page.keyboard.press("u")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 4?")).to_be_visible()
    page.keyboard.press("Backspace")
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Nothing left for you")).to_be_focused()
    assert page.evaluate("window.stays"), "the page was loaded anew instead of swapped"
    wait_until_stored(page)
    assert get_votes() == ["right_significantly", "unsure", "unsure"]
    assert Judgment.objects.get(action="skip").skip_reason.endswith(": zu7?")


def test_choosing_does_not_move_the_texts(
    sign_in_browser: SignIn, labeler: User, page: Page, make_comparison: MakeComparison, address: str
) -> None:
    make_comparison(a="Long.\n\n" * 60, b="Long, too.\n\n" * 60)
    sign_in_browser(labeler)
    page.goto(address)
    places = "[window.scrollY, document.getElementById('left-text').scrollTop]"
    page.evaluate("window.scrollTo(0, 40); document.getElementById('left-text').scrollTop = 300")
    before = page.evaluate(places)
    assert before[1] == 300
    for key in ("1", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    expect(page.get_by_label("Left is negligibly better")).to_be_checked()
    assert page.evaluate(places) == before


def test_enter_without_a_choice_submits_nothing(at_work: Page) -> None:
    at_work.keyboard.press("Enter")
    expect(at_work.get_by_text("Question 1?")).to_be_visible()
    assert not Judgment.objects.exists()


def test_single_keys_can_be_switched_off(at_work: Page) -> None:
    page = at_work
    page.keyboard.press("?")
    page.get_by_label("Single keys work").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    expect(page.locator("input[name=choice]:checked")).to_have_count(0)
    page.get_by_label("Unsure").check()
    page.get_by_label("Unsure").press("Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()


def test_without_javascript(
    browser: Browser, live_server: Any, labeler: User, comparisons: list[Comparison], address: str
) -> None:
    context = browser.new_context(java_script_enabled=False)
    add_session(context, live_server.url, labeler)
    page = context.new_page()
    page.goto(address)
    page.get_by_label("Right is slightly better").check()
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("Question 2?")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Question 1?")).to_be_visible()
    page.get_by_label("Left is slightly better").check()
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("button", name="Skip…").click()
    page.get_by_role("dialog").get_by_label("A text is broken, empty or cut off").check()
    page.get_by_role("dialog").get_by_role("button", name="Skip this pair").click()
    expect(page.get_by_text("Question 3?")).to_be_visible()
    page.get_by_role("button", name="Guidelines").click()
    expect(page.get_by_role("dialog", name="Guidelines")).to_contain_text("good cook")
    context.close()
    assert get_votes() == ["left_slightly"]
    assert Judgment.objects.get(action="skip").skip_reason == "broken"


def is_answer(request: Request) -> bool:
    return request.method == "POST" and request.url.endswith("/compare/")


def count_kept(page: Page) -> int:
    kept: int = page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('plumbline.answer.')).length")
    return kept


def test_a_double_click_judges_one_pair(at_work: Page) -> None:
    posts: list[str] = []
    at_work.on("request", lambda request: posts.append(request.url) if is_answer(request) else None)
    at_work.keyboard.press("2")
    at_work.get_by_role("button", name="Submit").dblclick()
    expect(at_work.get_by_text("Question 2?")).to_be_visible()
    at_work.keyboard.press("6")
    at_work.keyboard.press("Enter")
    at_work.keyboard.press("Enter")
    expect(at_work.get_by_text("Question 3?")).to_be_visible()
    wait_until_stored(at_work)
    assert len(posts) == 2
    assert get_votes() == ["left_slightly", "right_slightly"]


def test_an_undo_pressed_while_an_answer_is_on_its_way_is_not_heard(at_work: Page) -> None:
    at_work.route("**/ahead/**", lambda route: route.abort())
    at_work.keyboard.press("1")
    at_work.keyboard.press("Enter")
    expect(at_work.locator("#announcer")).to_have_text("Saved. 3 pairs left.")
    answers: list[Route] = []
    at_work.route("**/compare/", lambda route: answers.append(route))
    at_work.keyboard.press("7")
    at_work.keyboard.press("Enter")
    expect(at_work.locator("#desk")).to_have_class("is-waiting")
    at_work.keyboard.press("z")
    answers[0].continue_()
    expect(at_work.get_by_text("Question 3?")).to_be_visible()
    wait_until_stored(at_work)
    assert get_votes() == ["left_significantly", "right_significantly"]


def test_a_double_undo_takes_one_answer_back(at_work: Page) -> None:
    for number in (2, 3):
        at_work.keyboard.press("4")
        at_work.keyboard.press("Enter")
        expect(at_work.get_by_text(f"Question {number}?")).to_be_visible()
        wait_until_stored(at_work)
    at_work.get_by_role("button", name="Undo").dblclick()
    expect(at_work.get_by_text("Question 2?")).to_be_visible()
    assert get_votes() == ["unsure"]


def test_a_reload_in_the_middle_keeps_pair_sides_and_choice(at_work: Page) -> None:
    left = at_work.locator("section", has=at_work.get_by_role("heading", name="Left response"))
    before = left.inner_text()
    at_work.keyboard.press("5")
    at_work.reload()
    assert left.inner_text() == before
    expect(at_work.get_by_label("Right is negligibly better")).to_be_checked()
    assert Assignment.objects.count() == 1


def test_an_answer_given_offline_is_sent_when_the_connection_is_back(at_work: Page, context: BrowserContext) -> None:
    context.set_offline(True)
    at_work.keyboard.press("3")
    at_work.keyboard.press("Enter")
    expect(at_work.get_by_role("alert")).to_contain_text("kept on this device")
    at_work.keyboard.press("7")  # the answer is on its way and no longer changes
    expect(at_work.get_by_label("Left is negligibly better")).to_be_checked()
    assert not Judgment.objects.exists()
    assert count_kept(at_work) == 1
    context.set_offline(False)
    expect(at_work.get_by_text("Question 2?")).to_be_visible()
    assert count_kept(at_work) == 0
    expect(at_work.locator("#connection")).to_be_hidden()
    wait_until_stored(at_work)
    assert get_votes() == ["left_negligibly"]


def test_an_answer_whose_receipt_was_lost_is_stored_once(at_work: Page) -> None:
    lost: list[str] = []

    def lose_reply(route: Route) -> None:
        if route.request.method != "POST" or lost:
            return route.continue_()
        route.fetch()  # it arrives ...
        lost.append(route.request.url)
        route.abort()  # ... but the labeler never hears of it
        return None

    at_work.route("**/compare/", lose_reply)
    at_work.keyboard.press("2")
    at_work.keyboard.press("Enter")
    expect(at_work.get_by_role("alert")).to_contain_text("kept on this device")
    at_work.get_by_role("button", name="Try now").click()
    expect(at_work.get_by_text("Question 2?")).to_be_visible()
    wait_until_stored(at_work)
    assert lost
    assert get_votes() == ["left_slightly"]


def test_an_answer_survives_the_closing_of_the_tab(at_work: Page, context: BrowserContext, address: str) -> None:
    context.route("**/compare/", lambda route: route.abort() if route.request.method == "POST" else route.continue_())
    at_work.keyboard.press("6")
    at_work.keyboard.press("Enter")
    expect(at_work.get_by_role("alert")).to_contain_text("kept on this device")
    at_work.close()
    context.unroute_all()
    again = context.new_page()
    again.goto(address)
    expect(again.get_by_text("Question 2?")).to_be_visible()
    wait_until_stored(again)
    assert get_votes() == ["right_slightly"]


def test_a_session_that_ended_loses_no_answer(
    at_work: Page, context: BrowserContext, sign_in_browser: SignIn, labeler: User, address: str
) -> None:
    context.clear_cookies(name="sessionid")
    at_work.keyboard.press("1")
    at_work.keyboard.press("Enter")
    expect(at_work.get_by_role("alert")).to_contain_text("signed out")
    sign_in_browser(labeler)
    at_work.goto(address)
    expect(at_work.get_by_text("Question 2?")).to_be_visible()
    wait_until_stored(at_work)
    assert get_votes() == ["left_significantly"]


def test_after_signing_in_again_in_another_tab_the_answer_is_sent_from_here(
    at_work: Page, context: BrowserContext, labeler: User, address: str
) -> None:
    context.clear_cookies(name="sessionid")
    at_work.keyboard.press("1")
    at_work.keyboard.press("Enter")
    expect(at_work.get_by_role("alert")).to_contain_text("signed out")
    other = context.new_page()
    other.goto(address.removesuffix("compare/"))
    other.get_by_label("Username").fill(labeler.username)
    other.get_by_label("Password").fill("labeler's password")
    other.get_by_role("button", name="Log in").click()
    expect(other.get_by_role("link", name="Start comparing")).to_be_visible()
    assert not Judgment.objects.exists()
    at_work.get_by_role("button", name="Try now").click()
    expect(at_work.get_by_text("Question 2?")).to_be_visible()
    wait_until_stored(at_work)
    assert get_votes() == ["left_significantly"]
    at_work.get_by_role("button", name="Undo").click()
    expect(at_work.get_by_text("Question 1?")).to_be_visible()


def test_a_conflict_is_told_in_words(at_work: Page, labeler: User, project: Project) -> None:
    token = Assignment.objects.get().token
    submit_judgment(labeler=labeler, project=project, token=token, choice=Choice.UNSURE)
    at_work.keyboard.press("1")
    at_work.keyboard.press("Enter")
    expect(at_work.get_by_role("alert")).to_contain_text("the first answer stands")
    expect(at_work.get_by_text("Question 2?")).to_be_visible()
    wait_until_stored(at_work)
    assert get_votes() == ["unsure"]


def test_a_lease_lives_while_somebody_reads(
    sign_in_browser: SignIn, labeler: User, page: Page, comparisons: list[Comparison], address: str
) -> None:
    sign_in_browser(labeler)
    page.clock.install()
    page.goto(address)
    page.keyboard.press("1")
    before = Assignment.objects.get().expires_at
    with page.expect_response("**/heartbeat/"):
        page.clock.fast_forward("02:01")
    assert Assignment.objects.get().expires_at > before
    Assignment.objects.update(state="expired", holds_place=False)
    page.keyboard.press("2")
    page.clock.fast_forward("02:01")
    expect(page.get_by_role("alert")).to_contain_text("Your hold on this pair has ended")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    wait_until_stored(page)
    assert get_votes() == ["left_slightly"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 640, 360])
def test_no_barrier_and_nothing_beyond_the_edge(
    browser: Browser,
    live_server: Any,
    labeler: User,
    make_comparison: MakeComparison,
    address: str,
    width: int,
    scheme: Any,
) -> None:
    """360 pixels is a small phone; 640 is a desktop at 200 % zoom."""
    make_comparison(
        messages=[
            {"role": "system", "content": "You cook."},
            {"role": "user", "content": ARABIC},
            {"role": "assistant", "content": "x" * 300},
            {"role": "user", "content": "| a | b |\n|-|-|\n| " + "wide" * 40 + " | 2 |"},
        ],
        a=KOREAN + "\n\n```python\nprint('" + "long" * 50 + "')\n```",
        b=ARABIC + "\n\n# Title\n\nhttps://example.com/" + "path/" * 40 + " a\u202eb",
    )
    context = browser.new_context(
        viewport={"width": width, "height": 740}, color_scheme=scheme, reduced_motion="reduce", has_touch=width < 600
    )
    add_session(context, live_server.url, labeler)
    page = context.new_page()
    page.goto(address)
    check_axe(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = [page.get_by_label(str(choice.label)).bounding_box() for choice in Project().choices]
    assert all(box and box["width"] >= 24 and box["height"] >= 24 for box in boxes)
    assert page.locator("p", has_text="كيف").last.evaluate("node => getComputedStyle(node).direction") == "rtl"
    left, right = (page.locator(f".response-{side}").bounding_box() for side in ("left", "right"))
    assert left and right
    if width >= 1024:
        assert abs(left["width"] - right["width"]) < 1
        assert left["y"] == right["y"]
    else:
        assert left["y"] + left["height"] < right["y"]
    if width < 600:
        page.get_by_label("Left is slightly better").tap()
        page.get_by_role("button", name="Submit").tap()
    else:
        page.get_by_label("Left is slightly better").check()
        page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", name="Nothing left for you")).to_be_visible()
    check_axe(page)
    context.close()
    assert get_votes() == ["left_slightly"]
