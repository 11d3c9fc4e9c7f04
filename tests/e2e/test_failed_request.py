"""A fragment that cannot be fetched: the page says why, in the server's own words where it has some."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Page, expect

from annotate.models import Comparison, Project
from tests.e2e.conftest import SignIn


def test_a_full_disk_is_said_on_the_page_that_asked(
    page: Page,
    live_server: Any,
    sign_in_browser: SignIn,
    admin: User,
    project: Project,
    comparisons: list[Comparison],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sign_in_browser(admin)
    page.goto(live_server.url + reverse("dataset_new", args=[project.slug]))

    def fail(**_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("annotate.services.datasets.preview_dataset", fail)
    page.get_by_label("Notes").fill("anything")
    expect(page.locator("#messages")).to_contain_text("The server's disk is full, so nothing can be saved now.")
    expect(page.get_by_role("heading", name="New dataset version")).to_be_visible()
