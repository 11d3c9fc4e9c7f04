"""A real Chromium against the real server; nothing of the page's security policy is switched off."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.test import Client
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect

from config.find_browser import COMMAND, find_browser

SignIn = Callable[[User], None]

expect.set_options(timeout=20_000)  # milliseconds; a busy machine takes longer than the 5,000 it would be


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    browser = find_browser()
    if browser is None:
        pytest.fail(f"The browser tests need Chromium. Type: {COMMAND}", pytrace=False)
    return {
        "executable_path": str(browser),
        "args": ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en"],
    }


@pytest.fixture(scope="session")
def browser_context_args() -> dict[str, Any]:
    return {"locale": "en-GB", "viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"}


@pytest.fixture
def sign_in_browser(context: BrowserContext, live_server: Any) -> SignIn:
    """Puts somebody's session into the browser: sign_in_browser(labeler), then page.goto(live_server.url + ...)."""

    def sign_in(user: User) -> None:
        add_session(context, live_server.url, user)

    return sign_in


def add_session(context: BrowserContext, url: str, user: User) -> None:
    """The same for a context of the test's own making (phone, without JavaScript, dark)."""
    client = Client()
    client.force_login(user)
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": url}])


def wait_until_stored(page: Page) -> None:
    """The next pair stands there before the server has the answer; this waits for its receipt."""
    expect(page.locator("#desk[data-sending]")).to_have_count(0)


def check_axe(page: Page, **options: Any) -> None:
    """Fails with the rules broken and where, be it serious or not."""
    options = {"resultTypes": ["violations"], **options}  # what holds is not described
    broken = Axe().run(page, options=options).response["violations"]
    assert not broken, (page.url, [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in broken])


def photograph(page: Page, name: str) -> None:
    """Wide and narrow, for people to look at, where LOOK names a folder."""
    if folder := os.environ.get("LOOK"):
        before = page.viewport_size
        for width, height in ((1280, 800), (390, 844)):
            page.set_viewport_size({"width": width, "height": height})
            page.screenshot(path=Path(folder) / f"{name}-{width}.png", full_page=True, caret="initial")
        if before:
            page.set_viewport_size(before)


@pytest.fixture(autouse=True)
def server_is_done(request: pytest.FixtureRequest) -> Iterator[None]:
    """Waits, once the page is closed, for what it still asked: emptying the database under a request is a deadlock."""
    if "live_server" not in request.fixturenames:
        yield
        return
    request.getfixturevalue("transactional_db")  # set up before, so emptied after
    under_way: list[object] = []

    def begin(**_kwargs: object) -> None:
        under_way.append(None)

    def end(**_kwargs: object) -> None:
        if under_way:
            under_way.pop()

    request_started.connect(begin)
    request_finished.connect(end)
    yield
    deadline = time.monotonic() + 10
    while under_way and time.monotonic() < deadline:
        time.sleep(0.02)
    request_started.disconnect(begin)
    request_finished.disconnect(end)


@pytest.fixture(autouse=True)
def page_stays_quiet(request: pytest.FixtureRequest, server_is_done: None) -> Iterator[None]:
    """Fails a test whose page broke the security policy or threw an error, whatever else it checked."""
    if "page" not in request.fixturenames:
        yield
        return
    page: Page = request.getfixturevalue("page")
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and "Content Security Policy" in message.text:
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield
    assert not complaints, complaints


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
