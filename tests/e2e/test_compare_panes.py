"""Reading two answers in a real browser: panes, folded turns, differences, marks, own keys, drafts, tabs, time."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import BrowserContext, Page, expect

from annotate.models import Comparison, Judgment, Project
from tests.conftest import MakeComparison
from tests.e2e.conftest import SignIn, check_axe, wait_until_stored
from tests.e2e.test_compare import is_answer

TURNS = [{"role": "assistant" if number % 2 else "user", "content": f"Turn {number}."} for number in range(5)]


@pytest.fixture
def address(live_server: Any, project: Project) -> str:
    return f"{live_server.url}/projects/{project.slug}/compare/"


def open_pair(page: Page, sign_in: SignIn, labeler: User, address: str, left: str) -> None:
    """The labeler's page; the response that begins with ``left`` is put on the left."""
    sign_in(labeler)
    page.goto(address)
    if not page.locator("#left-text").inner_text().startswith(left):
        assignment = labeler.assignments.get()
        assignment.left_response = "b" if assignment.left_response == "a" else "a"
        assignment.save()
        page.reload()
    expect(page.locator("#left-text")).to_contain_text(left)


def test_differences_are_framed_word_by_word_and_taken_away_again(
    sign_in_browser: SignIn, labeler: User, page: Page, make_comparison: MakeComparison, address: str
) -> None:
    make_comparison(
        a="Boil the **egg** for six minutes.\n\n쌀을 씻고 밥을 짓는다. 我喜欢吃米饭。 $x^2$",
        b="Boil the **egg** for ten long minutes.\n\n쌀을 씻고 죽을 짓는다. 我喜欢吃面条。 $x^3$",
    )
    open_pair(page, sign_in_browser, labeler, address, "Boil the egg for six")
    before = page.locator("#left-text").inner_html()
    page.keyboard.press("d")
    assert page.locator("#left-text del").all_inner_texts()[:3] == ["six", "밥을", "米饭"]
    assert page.locator("#right-text ins").all_inner_texts()[:3] == ["ten long", "죽을", "面条"]
    expect(page.locator("#left-text del .formula")).to_have_count(1)
    expect(page.locator("[data-diff-note]")).to_contain_text("Dashed frame")
    expect(page.get_by_role("button", name="Differences")).to_have_attribute("aria-pressed", "true")
    check_axe(page)
    page.keyboard.press("d")
    assert page.locator("#left-text").inner_html() == before
    expect(page.locator("[data-diff-note]")).to_be_empty()


def test_differences_are_forgotten_with_the_pair(
    sign_in_browser: SignIn, labeler: User, page: Page, comparisons: list[Comparison], address: str
) -> None:
    sign_in_browser(labeler)
    page.goto(address)
    page.keyboard.press("d")
    expect(page.locator("#left-text del")).to_have_count(1)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    expect(page.locator("del, ins")).to_have_count(0)
    page.keyboard.press("d")
    expect(page.locator("#left-text del")).to_have_count(1)


def test_panes_scroll_alone_or_together(
    sign_in_browser: SignIn, labeler: User, page: Page, make_comparison: MakeComparison, address: str
) -> None:
    make_comparison(a="Longer.\n\n" * 90, b="Long.\n\n" * 60)
    sign_in_browser(labeler)
    page.goto(address)
    places = "['left-text', 'right-text'].map(id => { const box = document.getElementById(id);"
    places += " return box.scrollTop / (box.scrollHeight - box.clientHeight); })"
    page.evaluate("document.getElementById('left-text').scrollTop = 400")
    page.wait_for_function(f"() => {places}[0] > 0")
    assert page.evaluate(places)[1] == 0
    page.keyboard.press("l")
    page.evaluate("document.getElementById('left-text').scrollTop = 600")
    page.wait_for_function(f"() => (([left, right]) => right > 0 && Math.abs(left - right) < 0.01)({places})")
    page.reload()
    expect(page.get_by_role("button", name="Scroll together")).to_have_attribute("aria-pressed", "true")
    page.evaluate("document.getElementById('right-text').scrollTop = 500")
    page.wait_for_function(f"() => (([left, right]) => left > 0 && Math.abs(left - right) < 0.01)({places})")


def test_earlier_turns_are_folded_what_is_answered_never(
    sign_in_browser: SignIn, labeler: User, page: Page, make_comparison: MakeComparison, address: str
) -> None:
    make_comparison(messages=TURNS)
    sign_in_browser(labeler)
    page.goto(address)
    expect(page.get_by_text("3 earlier turns")).to_be_visible()
    expect(page.get_by_text("Turn 4.")).to_be_visible()
    expect(page.get_by_text("Turn 3.")).to_be_visible()
    expect(page.get_by_text("Turn 2.")).to_be_hidden()
    page.keyboard.press("o")
    expect(page.get_by_text("Turn 0.")).to_be_visible()
    page.keyboard.press("o")
    expect(page.get_by_text("Turn 0.")).to_be_hidden()


def test_marks_go_and_come_and_stay_as_chosen(
    sign_in_browser: SignIn, labeler: User, page: Page, make_comparison: MakeComparison, address: str
) -> None:
    make_comparison(a="Zero\u200bwidth.", b="Plain.")
    sign_in_browser(labeler)
    page.goto(address)
    expect(page.get_by_text("ZWSP")).to_be_visible()
    page.keyboard.press("m")
    expect(page.get_by_text("ZWSP")).to_be_hidden()
    page.reload()
    expect(page.get_by_text("ZWSP")).to_be_hidden()
    page.keyboard.press("m")
    expect(page.get_by_text("ZWSP")).to_be_visible()


def test_keys_can_be_changed_but_not_to_ones_in_use(
    sign_in_browser: SignIn, labeler: User, page: Page, comparisons: list[Comparison], address: str
) -> None:
    sign_in_browser(labeler)
    page.goto(address)
    page.keyboard.press("?")
    key = page.locator("#key-list [data-action=unsure]")
    note = page.locator("[data-key-note]")
    key.click()
    expect(note).to_contain_text("Press the new key")
    page.keyboard.press("s")
    expect(note).to_have_text("Another action has this key.")
    key.click()
    page.keyboard.press("Backspace")
    expect(note).to_contain_text("Only letters")
    key.click()
    page.keyboard.press("k")
    expect(key).to_have_text("K")
    page.keyboard.press("Escape")
    page.reload()
    page.keyboard.press("u")
    expect(page.locator("input[name=choice]:checked")).to_have_count(0)
    page.keyboard.press("k")
    expect(page.get_by_label("Unsure")).to_be_checked()
    page.keyboard.press("?")
    page.get_by_role("button", name="Reset keys").click()
    expect(key).to_have_text("U")


def test_equal_and_both_bad_have_keys_where_they_are_offered(
    sign_in_browser: SignIn, labeler: User, page: Page, comparisons: list[Comparison], address: str
) -> None:
    Project.objects.update(allows_equal=True, allows_both_bad=True, scale="four", shows_lengths=True)
    sign_in_browser(labeler)
    page.goto(address)
    expect(page.get_by_text("5 words, 27 characters")).to_be_visible()
    for key, value in (("e", "equal"), ("x", "both_bad"), ("2", "left_better"), ("9", "equal")):
        page.keyboard.press(key)
        expect(page.locator(f"input[value={value}]")).to_be_checked()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    wait_until_stored(page)
    assert Judgment.objects.get().choice == "equal"


def test_another_tab_with_the_same_pair_is_told_of(
    sign_in_browser: SignIn,
    labeler: User,
    page: Page,
    context: BrowserContext,
    comparisons: list[Comparison],
    address: str,
) -> None:
    sign_in_browser(labeler)
    page.goto(address)
    page.keyboard.press("2")
    other = context.new_page()
    other.goto(address)
    expect(page.get_by_role("alert")).to_contain_text("open in another tab")
    expect(other.get_by_role("alert")).to_contain_text("open in another tab")
    expect(other.get_by_label("Left is slightly better")).to_be_checked()  # the draft is the labeler's, not the tab's
    other.keyboard.press("Enter")
    expect(other.get_by_text("Question 2?")).to_be_visible()
    wait_until_stored(other)
    expect(page.get_by_role("alert")).to_contain_text("answered in another tab")
    page.get_by_role("link", name="Show the next pair").click()
    expect(page.get_by_text("Question 2?")).to_be_visible()
    wait_until_stored(page)
    assert [row.choice for row in Judgment.objects.all()] == ["left_slightly"]


def test_pauses_do_not_count_as_work(
    sign_in_browser: SignIn, labeler: User, page: Page, comparisons: list[Comparison], address: str
) -> None:
    sign_in_browser(labeler)
    page.clock.install()
    page.goto(address)
    page.clock.fast_forward("00:20")
    page.keyboard.press("1")
    page.clock.fast_forward("10:00")
    expect(page.locator("[data-active-time]")).to_have_text("1:20")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or "") if is_answer(request) else None)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Question 2?")).to_be_visible()
    assert 79 <= float(sent[-1].partition("seconds=")[2].partition("&")[0]) <= 82


def test_reasons_survive_a_reload_and_are_sent_whole_after_a_lost_connection(
    sign_in_browser: SignIn,
    labeler: User,
    page: Page,
    context: BrowserContext,
    comparisons: list[Comparison],
    address: str,
) -> None:
    Project.objects.update(rationale="required", reason_tags=["clearer", "shorter"], allows_rewrite=True)
    sign_in_browser(labeler)
    page.goto(address)
    page.keyboard.press("2")
    page.keyboard.press("Enter")  # the reason is missing: nothing is sent
    page.get_by_label("shorter").check()
    page.get_by_label("Why, in your words").fill("한 문장이면 z 충분해요")
    page.get_by_text("Write a better answer").click()
    page.get_by_label("Your answer to the prompt").fill("Better.\nMuch better.")
    check_axe(page)
    page.reload()
    expect(page.get_by_label("Why, in your words")).to_have_value("한 문장이면 z 충분해요")
    expect(page.get_by_label("Left is slightly better")).to_be_checked()
    expect(page.get_by_label("clearer")).not_to_be_checked()
    assert not Judgment.objects.exists()
    context.set_offline(True)
    page.get_by_label("Why, in your words").press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("kept on this device")
    page.close()
    context.set_offline(False)
    again = context.new_page()
    again.goto(address)
    expect(again.get_by_text("Question 2?")).to_be_visible()
    expect(again.get_by_label("Why, in your words")).to_be_empty()
    said = Judgment.objects.get(action="vote")
    assert (said.choice, said.rationale) == ("left_slightly", "한 문장이면 z 충분해요")
    assert said.reason_tags == ["shorter"]


def test_a_flag_by_keyboard_leaves_pair_choice_and_time(
    sign_in_browser: SignIn, labeler: User, page: Page, comparisons: list[Comparison], address: str
) -> None:
    sign_in_browser(labeler)
    page.goto(address)
    page.keyboard.press("3")
    page.keyboard.press("f")
    expect(page.get_by_role("dialog", name="Flag this pair")).to_be_visible()
    page.keyboard.press("Space")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Flagged: somebody will look")).to_be_visible()
    expect(page.get_by_text("Question 1?")).to_be_visible()
    expect(page.get_by_label("Left is negligibly better")).to_be_checked()
    assert labeler.assignments.get().comparison.flags.count() == 1
