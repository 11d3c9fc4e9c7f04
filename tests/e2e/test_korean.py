"""The pages in Korean in a real browser, on a phone and on a desk: nothing runs over, no button is cut off.

Pictures of all of them are left in test-results/ for people to look at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Browser, Page

from annotate.models import Comparison, Project, Response, ResponseScore
from tests import scenery
from tests.e2e.conftest import add_session
from training.models import RunShare

FIND_OVERFLOW = """() => {
  const width = document.documentElement.clientWidth;
  const found = document.documentElement.scrollWidth > width ? ["the page itself"] : [];
  for (const element of document.querySelectorAll("header *, main *")) {
    const box = element.getBoundingClientRect();
    if (!box.width || element.closest(".table-scroll, .mono-block, .sr-only, [popover], [data-plot]")) continue;
    const name = `${element.tagName} ${element.textContent.trim().slice(0, 40)}`;
    if (box.right > width + 1) found.push(`${name}: beyond the edge`);
    if (!element.matches(".btn, .badge, .choice")) continue;
    if (element.scrollWidth > element.clientWidth + 1) found.push(`${name}: cut off`);
    if (element.matches(".btn") && box.height > 48) found.push(`${name}: on two lines`);
  }
  return found;
}"""


@pytest.fixture
def addresses(project: Project, admin: User, comparisons: list[Comparison]) -> list[str]:
    """A page of every kind, with something on it."""
    base, dataset = scenery.make_model(admin), scenery.make_dataset(project)
    failed = scenery.make_run(dataset, base, "orpo", state="failed", cause_code="nan_loss", cause="Lower the rate.")
    run = scenery.make_run(dataset, base)
    scenery.make_metrics(run)
    model = scenery.finish_run(run)
    other = scenery.make_run(dataset, base, state="running", hosts=2)
    RunShare.objects.create(run=other, run_epoch=1, rank=1, message="Waiting for the other workers", created_by=admin)
    scenery.make_metrics(other, seed=1)
    judge = scenery.finish_run(scenery.make_run(dataset, base, "reward"))
    for comparison in comparisons:
        for response, policy, score in ((comparison.response_a, base, 0.5), (comparison.response_b, model, 1.5)):
            Response.objects.filter(pk=response.pk).update(model=policy)
            ResponseScore.objects.create(response=response, model=judge, score=score)
    rooms = ["project_detail", "project_edit", "member_list", "import_list", "dataset_list", "dataset_new"]
    return [
        *map(reverse, ["home", "project_list", "run_list", "model_list", "model_add", "person_list", "account"]),
        *(reverse(name, args=[project.slug]) for name in [*rooms, "sampling_list", "compare"]),
        *(
            reverse(name, args=[row.pk])
            for name, row in (("run_detail", failed), ("run_detail", run), ("run_detail", other))
        ),
        *(reverse(name, args=[row.pk]) for name, row in (("model_detail", model), ("dataset_detail", dataset))),
        f"{reverse('run_detail', args=[run.pk])}?with={other.pk}",
        reverse("model_win_rates", args=[judge.pk]),
        *(f"{reverse('run_new')}?method={method}" for method in ("reward", "dpo", "orpo")),
    ]


@pytest.mark.parametrize("width", [390, 1280])
def test_korean_pages_fit(
    browser: Browser, live_server: Any, admin: User, addresses: list[str], width: int, output_path: str
) -> None:
    context = browser.new_context(locale="ko-KR", viewport={"width": width, "height": 844}, reduced_motion="reduce")
    add_session(context, live_server.url, admin)
    page = context.new_page()
    try:
        problems = {address: look_at(page, live_server.url, address, Path(output_path)) for address in addresses}
    finally:
        context.close()
    assert {address: found for address, found in problems.items() if found} == {}


def look_at(page: Page, server: str, address: str, pictures: Path) -> list[str]:
    page.goto(server + address)
    assert page.locator("html").get_attribute("lang") == "ko"
    page.evaluate("document.querySelectorAll('main details:not(.relative)').forEach(part => { part.open = true; })")
    name = address.strip("/").replace("/", "-").replace("?method=", "-").replace("?with=", "-with-") or "home"
    page.screenshot(path=pictures / f"{name}.png", full_page=True)
    found: list[str] = page.evaluate(FIND_OVERFLOW)
    return found


def test_korean_lines_break_between_words(page: Page, live_server: Any, browser: Browser) -> None:
    context = browser.new_context(locale="ko-KR")
    login = context.new_page()
    login.goto(live_server.url + reverse("account_login"))
    page.goto(live_server.url + reverse("account_login"))
    style = "getComputedStyle(document.querySelector('main p')).wordBreak"
    assert (login.evaluate(style), page.evaluate(style)) == ("keep-all", "normal")
    context.close()
