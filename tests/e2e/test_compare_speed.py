"""That a labeler does not wait for the next pair; real figures come from benchmarks/desk_switch.py."""

from __future__ import annotations

from statistics import median
from typing import Any

from django.contrib.auth.models import User
from playwright.sync_api import Page

from annotate.models import Project
from benchmarks.desk_switch import MEASURE
from tests.conftest import MakeComparison
from tests.e2e.conftest import SignIn

PAIRS = 12
MOST_MS = 400
"""A bound for a busy machine; a labeler notices from about 100 ms on."""


def test_the_next_pair_comes_at_once(
    sign_in_browser: SignIn,
    labeler: User,
    page: Page,
    project: Project,
    make_comparison: MakeComparison,
    live_server: Any,
) -> None:
    for number in range(PAIRS + 1):
        make_comparison(
            a="A paragraph of a response with **bold** and `code`.\n\n" * 12 + str(number),
            b="Another paragraph, a little longer than that, $x^2$.\n\n" * 15 + str(number),
        )
    sign_in_browser(labeler)
    page.goto(f"{live_server.url}/projects/{project.slug}/compare/")
    page.evaluate(MEASURE)
    for done in range(PAIRS):
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        page.wait_for_function(f"() => took.length > {done} && document.getElementById('desk').dataset.token")
    took: list[float] = page.evaluate("took")
    assert median(took) < MOST_MS
