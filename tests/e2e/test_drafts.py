"""What is begun and not sent, in real browsers: from one to another, past the end of a lease, and with Back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, Response, Route, expect

from annotate.models import Assignment, Choice, Comparison, Draft, Judgment, Project
from annotate.services.drafts import save_draft
from annotate.services.judgments import submit_judgment
from tests.annotate.test_next_comparison import hand_out
from tests.e2e.conftest import SignIn, add_session, wait_until_stored

OpenBrowser = Callable[[], Page]
NOTE = "is filled in again"


@pytest.fixture
def address(live_server: Any, project: Project) -> str:
    project.rationale, project.reason_tags, project.allows_rewrite = "optional", ["clearer", "shorter"], True
    project.save()
    return f"{live_server.url}/projects/{project.slug}/compare/"


@pytest.fixture
def at_work(sign_in_browser: SignIn, labeler: User, page: Page, comparisons: list[Comparison], address: str) -> Page:
    """The labeler's page with the first of four pairs; the project asks for reasons."""
    sign_in_browser(labeler)
    page.goto(address)
    expect(page.get_by_role("heading", name="Prompt")).to_be_visible()
    return page


@pytest.fixture
def open_elsewhere(browser: Browser, live_server: Any, labeler: User, address: str) -> Iterator[OpenBrowser]:
    """The labeler's page in another browser, which shares nothing with the first but the account."""
    contexts: list[BrowserContext] = []

    def open_page() -> Page:
        context = browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 800})
        contexts.append(context)
        add_session(context, live_server.url, labeler)
        page = context.new_page()
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()


def is_draft(response: Response) -> bool:
    return response.url.endswith("/draft/")


def get_votes() -> list[str]:
    rows = Judgment.objects.filter(action="vote", superseded_by=None).order_by("comparison_id")
    return [row.choice for row in rows]


def begin(page: Page, words: str = "한 문장이면 z 충분해요") -> None:
    """Chooses and types; returns once the server has it all."""
    with page.expect_response(is_draft):
        page.get_by_label("Left is slightly better").check()
        page.get_by_label("shorter").check()
        page.get_by_label("Why, in your words").fill(words)
    wait_for_draft(words)


def wait_for_draft(words: str) -> None:
    """A page that is left does not wait for the server; neither is there anything on it to wait for."""
    deadline = time.monotonic() + 20
    while not Draft.objects.filter(rationale=words).exists():
        assert time.monotonic() < deadline, "the draft never arrived"
        time.sleep(0.05)


def test_a_draft_stands_in_another_browser_and_is_answered_there(at_work: Page, open_elsewhere: OpenBrowser) -> None:
    expect(at_work.get_by_text(NOTE)).to_be_hidden()
    begin(at_work)
    other = open_elsewhere()
    expect(other.get_by_text("Question 1?")).to_be_visible()
    expect(other.get_by_text(NOTE)).to_be_visible()
    expect(other.get_by_label("Left is slightly better")).to_be_checked()
    expect(other.get_by_label("shorter")).to_be_checked()
    expect(other.get_by_label("clearer")).not_to_be_checked()
    expect(other.get_by_label("Why, in your words")).to_have_value("한 문장이면 z 충분해요")
    other.keyboard.press("Control+Enter")
    expect(other.get_by_text("Question 2?")).to_be_visible()
    wait_until_stored(other)
    expect(other.get_by_text(NOTE)).to_be_hidden()
    expect(other.get_by_label("Why, in your words")).to_be_empty()
    said = Judgment.objects.get()
    assert (said.choice, said.rationale, said.reason_tags) == ("left_slightly", "한 문장이면 z 충분해요", ["shorter"])
    assert not Draft.objects.exists()
    # The first browser still shows the pair that was answered meanwhile: no second vote, and words for it.
    at_work.get_by_label("Right is significantly better").check()
    at_work.keyboard.press("Control+Enter")
    expect(at_work.get_by_role("alert")).to_contain_text("the first answer stands")
    expect(at_work.get_by_text("Question 2?")).to_be_visible()
    wait_until_stored(at_work)
    assert get_votes() == ["left_slightly"]


def test_the_newer_draft_wins_in_whichever_browser_it_was_typed(at_work: Page, open_elsewhere: OpenBrowser) -> None:
    begin(at_work, "First here.")
    other = open_elsewhere()
    expect(other.get_by_label("Why, in your words")).to_have_value("First here.")
    other.get_by_label("Why, in your words").fill("Then there.")
    wait_for_draft("Then there.")
    at_work.reload()
    expect(at_work.get_by_label("Why, in your words")).to_have_value("Then there.")
    at_work.context.set_offline(True)
    at_work.get_by_label("Why, in your words").fill("Last here, and offline.")
    at_work.context.set_offline(False)
    at_work.route("**/draft/", lambda route: route.abort())  # not even on leaving
    at_work.reload()
    expect(at_work.get_by_label("Why, in your words")).to_have_value("Last here, and offline.")
    at_work.unroute_all()
    at_work.reload()
    wait_for_draft("Last here, and offline.")


def test_what_is_typed_just_before_leaving_arrives(at_work: Page, open_elsewhere: OpenBrowser) -> None:
    at_work.get_by_label("Why, in your words").fill("Just typed.")
    at_work.get_by_role("link", name="Kitchen help").first.click()
    expect(at_work.get_by_role("link", name="Start comparing")).to_be_visible()
    wait_for_draft("Just typed.")
    expect(open_elsewhere().get_by_label("Why, in your words")).to_have_value("Just typed.")


def test_the_server_hears_of_it_now_and_then_and_not_without_a_change(
    sign_in_browser: SignIn, labeler: User, page: Page, comparisons: list[Comparison], address: str
) -> None:
    """The page's clock runs by hand and not as the server's does, so that the test itself answers for the server."""
    posts: list[str] = []

    def receive(route: Route) -> None:
        posts.append(route.request.post_data or "")
        route.fulfill(status=204)

    sign_in_browser(labeler)
    page.clock.install()
    page.route("**/draft/", receive)
    page.goto(address)
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 5)
    words = page.get_by_label("Why, in your words")
    for count in range(1, 11):  # five seconds of typing
        words.fill("x" * count)
        page.clock.run_for(500)
    with page.expect_request(lambda request: f"rationale={'x' * 10}&" in (request.post_data or "")):
        page.clock.run_for(3000)
    words.fill("something else")
    words.fill("x" * 10)
    page.clock.run_for(60_000)
    assert len(posts) == 2, posts
    words.fill("Not heard.")
    page.unroute_all()
    page.route("**/draft/", lambda route: route.abort())
    with page.expect_event("requestfailed"):
        page.clock.run_for(3000)
    page.unroute_all()
    page.route("**/draft/", receive)
    with page.expect_response(is_draft):
        for _heartbeat in range(2):  # tried again with the next sign of life
            page.clock.run_for(121_000)
    assert "rationale=Not+heard.&" in posts[-1]


def test_what_is_taken_back_is_gone_on_the_server_too(at_work: Page, open_elsewhere: OpenBrowser) -> None:
    words = at_work.get_by_label("Why, in your words")
    words.fill("Hm.")
    wait_for_draft("Hm.")
    at_work.reload()
    expect(at_work.get_by_text(NOTE)).to_be_visible()
    with at_work.expect_response(is_draft):
        words.fill("")
    assert not Draft.objects.exists()
    other = open_elsewhere()
    expect(other.get_by_label("Why, in your words")).to_be_empty()
    expect(other.get_by_text(NOTE)).to_be_hidden()


def test_the_time_on_a_pair_goes_on_where_it_stood(
    at_work: Page, labeler: User, project: Project, open_elsewhere: OpenBrowser
) -> None:
    token = Assignment.objects.get().token
    save_draft(labeler=labeler, project=project, token=token, choice="unsure", seconds=125.0)
    at_work.reload()
    expect(at_work.locator("[data-active-time]")).to_have_text(re.compile("^2:"))
    expect(open_elsewhere().locator("[data-active-time]")).to_have_text(re.compile("^2:"))


def test_the_draft_of_a_pair_that_was_fetched_ahead_is_filled_in_too(
    sign_in_browser: SignIn, labeler: User, page: Page, project: Project, comparisons: list[Comparison], address: str
) -> None:
    """Its lease had ended before; now it follows the pair on screen."""
    now = timezone.now()
    again = Assignment.objects.create(
        comparison=comparisons[1],
        project=project,
        labeler=labeler,
        state="expired",
        holds_place=False,
        left_response="a",
        seed=0,
        leased_at=now,
        expires_at=now,
    )
    save_draft(labeler=labeler, project=project, token=again.token, choice="unsure", rationale="Begun yesterday.")
    sign_in_browser(labeler)
    with page.expect_response(lambda response: "/ahead/" in response.url):
        page.goto(address)
    held: list[Route] = []
    page.route("**/compare/", lambda route: held.append(route))
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    words = page.get_by_label("Why, in your words")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    expect(words).to_be_empty()  # not theirs yet
    held.pop().continue_()
    expect(words).to_have_value("Begun yesterday.")
    expect(page.get_by_text(NOTE)).to_be_visible()
    assert get_votes() == ["left_significantly"]


def test_a_change_of_an_answer_is_kept_for_another_browser_too(
    at_work: Page, labeler: User, project: Project, open_elsewhere: OpenBrowser, address: str
) -> None:
    token = Assignment.objects.get().token
    submit_judgment(labeler=labeler, project=project, token=token, choice=Choice.UNSURE, rationale="Hm.")
    at_work.goto(f"{address}answers/")
    at_work.get_by_role("button", name="Change").click()
    expect(at_work.get_by_label("Unsure")).to_be_checked()
    expect(at_work.get_by_text(NOTE)).to_be_hidden()
    at_work.get_by_label("Why, in your words").fill("No, wait.")
    wait_for_draft("No, wait.")
    other = open_elsewhere()
    other.goto(at_work.url)
    expect(other.get_by_label("Unsure")).to_be_checked()
    expect(other.get_by_label("Why, in your words")).to_have_value("No, wait.")
    expect(other.get_by_text(NOTE)).to_be_visible()


@pytest.mark.parametrize("taken", [False, True])
def test_text_typed_while_the_lease_ends_is_stored(
    at_work: Page, teammate: User, project: Project, taken: bool, open_elsewhere: OpenBrowser
) -> None:
    words = at_work.get_by_label("Why, in your words")
    words.press_sequentially("Typed before ")
    Assignment.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    theirs = hand_out(teammate, project)  # which ends the lease
    assert theirs.comparison_id == Assignment.objects.get(state="expired").comparison_id
    if taken:
        submit_judgment(labeler=teammate, project=project, token=theirs.token, choice=Choice.UNSURE)
    else:
        Assignment.objects.filter(pk=theirs.pk).delete()
        Comparison.objects.update(taken=0)
    words.press_sequentially("and after.")
    wait_for_draft("Typed before and after.")
    at_work.keyboard.press("Control+Enter")  # without a choice nothing is sent
    assert not Judgment.objects.filter(labeler__username="labeler").exists()
    at_work.get_by_label("Right is slightly better").check()
    words.press("Control+Enter")
    expect(at_work.get_by_text("Question 2?")).to_be_visible()
    wait_until_stored(at_work)
    if taken:
        expect(at_work.get_by_text("Others finished this pair in the meantime.")).to_be_visible()
    said = Judgment.objects.get(labeler__username="labeler")
    assert (said.choice, said.rationale, said.surplus) == ("right_slightly", "Typed before and after.", taken)
    assert not Draft.objects.exists()


def test_back_after_an_answer_neither_loses_nor_repeats_it(
    at_work: Page, labeler: User, project: Project, address: str
) -> None:
    page = at_work
    page.goto(address.removesuffix("compare/"))
    with page.expect_response(lambda response: "/ahead/" in response.url):
        page.get_by_role("link", name="Start comparing").click()
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    wait_until_stored(page)
    page.go_back()
    expect(page.get_by_role("link", name="Start comparing")).to_be_visible()
    page.go_forward()
    expect(page.get_by_text("Question 2?")).to_be_visible()
    expect(page.locator("input[name=choice]:checked")).to_have_count(0)
    # The second pair is chosen, left, and answered elsewhere: Back shows the third, and nothing of the second.
    page.keyboard.press("7")
    page.keyboard.press("h")
    expect(page.get_by_role("heading", name="My answers")).to_be_visible()
    second = Assignment.objects.get(state="leased")
    submit_judgment(labeler=labeler, project=project, token=second.token, choice=Choice.UNSURE)
    page.go_back()
    expect(page.get_by_text("Question 3?")).to_be_visible()
    expect(page.locator("input[name=choice]:checked")).to_have_count(0)
    third = str(Assignment.objects.get(state="leased").token)
    for form in ("answer", "skip", "flag"):
        expect(page.locator(f"#{form}-form [name=token]")).to_have_value(third)
    assert get_votes() == ["left_slightly", "unsure"]


def test_back_while_an_answer_is_on_its_way(at_work: Page, address: str) -> None:
    page = at_work
    page.goto(address.removesuffix("compare/"))
    page.get_by_role("link", name="Start comparing").click()
    expect(page.get_by_text("Question 1?")).to_be_visible()
    held: list[Route] = []
    page.route("**/compare/", lambda route: held.append(route) if route.request.method == "POST" else route.continue_())
    page.keyboard.press("2")
    with page.expect_request(lambda request: request.method == "POST" and request.url == address):
        page.keyboard.press("Enter")
    page.go_back()
    expect(page.get_by_role("link", name="Start comparing")).to_be_visible()
    assert get_votes() == []
    page.unroute_all()
    page.go_forward()  # what was kept on this device is sent
    expect(page.get_by_text("Question 2?")).to_be_visible()
    wait_until_stored(page)
    assert get_votes() == ["left_slightly"]


def test_a_page_brought_back_as_it_was_left_shows_no_pair_that_was_answered(
    at_work: Page, labeler: User, project: Project
) -> None:
    token = Assignment.objects.get().token
    submit_judgment(labeler=labeler, project=project, token=token, choice=Choice.UNSURE)
    at_work.evaluate("window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    expect(at_work.get_by_text("Question 2?")).to_be_visible()


def test_back_without_javascript(
    browser: Browser, live_server: Any, labeler: User, comparisons: list[Comparison], address: str
) -> None:
    context = browser.new_context(java_script_enabled=False)
    add_session(context, live_server.url, labeler)
    page = context.new_page()
    page.goto(address)
    page.get_by_label("Right is slightly better").check()
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("Question 2?")).to_be_visible()
    page.go_back()
    expect(page.get_by_text("Question 2?")).to_be_visible()
    expect(page.locator("input[name=choice]:checked")).to_have_count(0)
    context.close()
    assert get_votes() == ["right_slightly"]
