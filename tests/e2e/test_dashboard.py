"""The dashboard of runs in a real browser, mostly by keyboard: launch, watch, cancel, take up again, compare."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Page, expect

from annotate.models import DatasetVersion, Project
from models_registry.models import ModelVersion, WorkState
from tests import scenery
from tests.e2e.conftest import SignIn, check_axe, photograph
from training.curve_levels import file_metrics
from training.models import Run


@pytest.fixture
def base(admin: User) -> ModelVersion:
    return scenery.make_model(admin)


@pytest.fixture
def dataset(project: Project) -> DatasetVersion:
    return scenery.make_dataset(project)


def test_a_run_is_launched_watched_cancelled_and_taken_up_again_by_keyboard(
    page: Page, live_server: Any, sign_in_browser: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    sign_in_browser(admin)
    page.goto(live_server.url + reverse("run_new"))
    page.get_by_label("Tags").focus()
    page.keyboard.type("first, 논문")
    page.get_by_role("button", name="Launch the run").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#run-status")).to_have_attribute("data-state", "queued")
    run = Run.objects.get()
    Run.objects.filter(pk=run.pk).update(state=WorkState.RUNNING, epoch=1, step=2, total_steps=60, seconds_left=130)
    file_metrics(run, [{"step": 1, "loss": 0.7}, {"step": 2, "loss": 0.6}])
    expect(page.get_by_text("2 min 10 s left")).to_be_visible()
    expect(page.locator("[data-chart]").first.get_by_role("img")).to_have_accessible_name(re.compile("training 0.6"))
    page.get_by_text("Cancel…").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Cancel the run").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Cancelling…")).to_be_visible()
    Run.objects.filter(pk=run.pk).update(state=WorkState.CANCELLED)
    page.get_by_role("button", name="Take it up again").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#run-status")).to_have_attribute("data-state", "queued")
    page.get_by_role("link", name="논문").press("Enter")
    expect(page).to_have_url(re.compile(r"\?tag="))
    expect(page.locator("#run-table tbody tr")).to_have_count(1)


def test_a_long_curve_is_zoomed_and_read_by_keys(
    page: Page, live_server: Any, sign_in_browser: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    run = scenery.make_run(dataset, base, state=WorkState.FINISHED)
    lines = [{"step": step, "loss": 0.7 - step / 10_000 + (step % 7) / 100} for step in range(1, 5001)]
    file_metrics(run, lines + [{"step": step, "eval_loss": 0.6} for step in range(500, 5001, 500)])
    Run.objects.filter(pk=run.pk).update(alerts=[{"code": "overfit", "step": 500, "value": 0.7, "limit": 0.6}])
    sign_in_browser(admin)
    page.goto(live_server.url + reverse("run_detail", args=[run.pk]))
    board, chart = page.locator("[data-charts]"), page.locator("[data-chart]").first
    expect(board).to_have_attribute("data-state", "over")
    expect(page.get_by_text("The held-out loss rises")).to_be_visible()
    photograph(page, "long-curve")
    with page.expect_response(re.compile(r"metrics\.json\?.*first=")) as finer:
        chart.get_by_role("img").focus()
        for _press in range(4):
            page.keyboard.press("+")
    answer = finer.value.json()
    assert answer["width"] < 16, "the part that is looked at comes in finer steps"
    low, high = (float(text) for text in (board.get_attribute("data-view") or "").split())
    assert high - low < 5000 / 10
    page.keyboard.press("ArrowRight")
    expect(page.locator("[data-place]")).not_to_have_text("–")
    place = page.locator("[data-place]").text_content()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("[data-place]")).not_to_have_text(place or "")
    page.keyboard.press("Shift+ArrowRight")
    expect(board).not_to_have_attribute("data-view", f"{low} {high}")
    page.get_by_label("Log scale").check()
    page.get_by_label("Smoothing").fill("0")
    expect(chart.locator("[data-value]").first).to_have_text(re.compile(r"0\.\d{3}"))
    page.get_by_role("button", name="Show everything").press("Enter")
    expect(board).to_have_attribute("data-view", "")
    check_axe(page, runOnly=["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"])


def test_ticked_runs_stay_ticked_and_are_compared(
    page: Page, live_server: Any, sign_in_browser: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    done = scenery.make_run(dataset, base, name="done", config={"learning_rate": 1e-5})
    live = scenery.make_run(dataset, base, name="live", state=WorkState.RUNNING, step=30, seconds_left=61)
    scenery.finish_run(done)
    for run in (done, live):
        scenery.make_metrics(run, 60, seed=run.pk)
    sign_in_browser(admin)
    page.goto(live_server.url + reverse("run_list"))
    photograph(page, "runs")
    page.get_by_label("Compare done").press("Space")
    Run.objects.filter(pk=live.pk).update(step=31)
    expect(page.locator("#run-table")).to_contain_text("31 / 68")
    expect(page.get_by_label("Compare done")).to_be_checked()
    expect(page.get_by_label("Compare done")).to_be_focused()
    page.get_by_label("Compare live").press("Space")
    page.get_by_role("button", name="Compare the ticked runs").press("Enter")
    expect(page.locator("[data-charts]")).to_have_attribute("data-state", "live")
    loss = page.locator("[data-chart]").first.get_by_role("img")
    expect(loss).to_have_accessible_name(re.compile(r"live 0\.\d+ .*done 0\.\d+"))
    settings = page.get_by_role("region", name="Settings")
    expect(settings.get_by_role("row", name="Learning rate")).to_contain_text("1e-5")
    photograph(page, "compare")
    page.get_by_label("Along the bottom").select_option("time")
    check_axe(page, runOnly=["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"])


def test_the_log_is_searched_and_followed(
    page: Page, live_server: Any, sign_in_browser: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    lines = "\n".join(f"line {number} <b>" for number in range(150))
    run = scenery.make_run(dataset, base, state=WorkState.RUNNING, log_tail=lines)
    sign_in_browser(admin)
    page.goto(live_server.url + reverse("run_detail", args=[run.pk]))
    log = page.locator("#run-log")
    page.get_by_label("Only lines with").fill("LINE 14")
    expect(log).to_have_text(re.compile(r"^line 14 <b>\s+line 140 <b>[\s\S]*line 149 <b>$"))
    expect(page.get_by_text("11 of 150 lines")).to_be_visible()
    Run.objects.filter(pk=run.pk).update(log_tail=lines + "\nline 1499")
    expect(log).to_contain_text("line 1499")
    expect(log).not_to_contain_text("line 15")
    page.get_by_label("Only lines with").fill("")
    expect(log).to_contain_text("line 15 ")
