"""The compare page on a phone: answers in sight, nothing lost behind them, in many scripts and in two languages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect

from annotate.models import Judgment, Project
from tests.conftest import MakeComparison
from tests.e2e.conftest import add_session, check_axe, wait_until_stored
from tests.e2e.test_korean import FIND_OVERFLOW

SCRIPTS = {
    "rtl": "كيف أطبخ الأرز؟ اغسل الأرز ثم أضف الماء واتركه على نار هادئة. ",
    "ko": "밥은 쌀을 씻고 물을 맞춘 뒤 약한 불에서 뜸을 들이면 됩니다. ",
    "ja": "米を洗い、水を加えて弱火で炊きます。最後に十分蒸らしてください。",
    "zh": "先把米洗干净，加入适量的水，然后用小火慢慢煮熟，最后焖十分钟。",
}

# Of the element that has the focus: how much of it lies behind the rail or beyond the window, from 0 to 1.
FIND_HIDDEN = """() => {
  const rail = document.querySelector(".rail-desk");
  const box = document.activeElement.getBoundingClientRect();
  const inRail = rail.contains(document.activeElement) || document.activeElement.closest("header, [popover]");
  const end = inRail ? innerHeight : Math.min(innerHeight, rail.getBoundingClientRect().top);
  return 1 - Math.max(0, Math.min(box.bottom, end) - Math.max(box.top, 0)) / Math.min(box.height, 120);
}"""


OpenPhone = Callable[..., Page]


@pytest.fixture
def open_phone(browser: Browser, live_server: Any, labeler: User, project: Project) -> Iterator[OpenPhone]:
    contexts = []

    def open_page(width: int, height: int, locale: str = "en-GB") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height}, locale=locale, has_touch=True, reduced_motion="reduce"
        )
        contexts.append(context)
        add_session(context, live_server.url, labeler)
        page = context.new_page()
        page.goto(f"{live_server.url}/projects/{project.slug}/compare/")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize(("width", "height", "locale"), [(390, 844, "en-GB"), (360, 640, "ko-KR")])
def test_answers_stay_in_sight_and_cover_nothing(
    open_phone: OpenPhone, make_comparison: MakeComparison, width: int, height: int, locale: str
) -> None:
    Project.objects.update(
        allows_equal=True, allows_both_bad=True, rationale="optional", reason_tags=["clearer"], allows_rewrite=True
    )
    make_comparison("".join(SCRIPTS.values()), a=SCRIPTS["rtl"] * 12 + "\n\n" + SCRIPTS["ko"] * 6, b=SCRIPTS["ja"] * 12)
    make_comparison()
    page = open_phone(width, height, locale)
    rail = page.locator(".rail-desk")
    for scroll in (0, 500, 99_999):
        page.evaluate(f"window.scrollTo(0, {scroll})")
        box = rail.bounding_box()
        assert box and box["y"] + box["height"] <= height and box["height"] < 0.45 * height
    # Tab by tab through the whole page: what has the focus is never behind the rail (WCAG 2.4.11).
    page.evaluate("window.scrollTo(0, 0)")
    seen = set()
    for _step in range(40):
        page.keyboard.press("Tab")
        assert page.evaluate(FIND_HIDDEN) < 1, page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.name"))
    assert {"left-text", "right-text", "rationale", "choice"} <= seen
    assert page.evaluate(FIND_OVERFLOW) == []
    check_axe(page)
    left = page.locator("#left-title").bounding_box()
    assert left and page.locator(".response-left").evaluate("node => node.getBoundingClientRect().height") > 200
    page.locator("input[value=right_slightly]").tap()
    submit = page.locator("#answer-form button")
    button, chosen = submit.bounding_box(), page.locator("label.choice-both_bad").bounding_box()
    assert button and chosen and button["y"] >= chosen["y"] + chosen["height"]
    assert (button["x"], button["width"]) == (chosen["x"], chosen["width"])
    submit.tap()
    expect(page.get_by_text("Question 2?")).to_be_visible()
    wait_until_stored(page)
    assert Judgment.objects.get().choice == "right_slightly"


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_runs_its_own_way(open_phone: OpenPhone, make_comparison: MakeComparison, script: str) -> None:
    text = SCRIPTS[script]
    make_comparison(text, a=f"# {text}\n\n{text * 8}", b=f"- {text}\n- {text}\n\n> {text}")
    page = open_phone(1280, 800)
    for block in page.locator(".pane-text :is(h3, p)").all():
        assert block.evaluate("node => getComputedStyle(node).direction") == ("rtl" if script == "rtl" else "ltr")
    page.keyboard.press("d")
    expect(page.locator(".pane-text :is(del, ins)").first).to_be_visible()
    assert page.evaluate(FIND_OVERFLOW) == []
    page.set_viewport_size({"width": 360, "height": 640})
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")  # drawn anew
    assert page.evaluate(FIND_OVERFLOW) == []
