"""Names of 90 letters without a space: they break, tables scroll within themselves, and no page grows wider."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Browser, expect

from annotate.models import Comparison, Membership, Project, Response, ResponseScore, SamplingJob
from models_registry.models import WorkState
from tests import scenery
from tests.e2e.conftest import add_session
from training.models import Run, RunShare
from training.run_tags import set_tags

WORD = "Donaudampfschiff" * 6
MEASURE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def name(first: str) -> str:
    return (first + WORD)[:90]


@pytest.fixture
def paths(admin: User, project: Project, comparisons: list[Comparison]) -> list[str]:
    """Every page that shows names, all of them long."""
    User.objects.filter(pk=admin.pk).update(username=name("A"))
    labeler = User.objects.create_user(name("L"))
    Membership.objects.create(project=project, user=labeler)
    project.name = project.description = project.question = name("P")
    project.save()
    dataset = scenery.make_dataset(project)
    base = scenery.make_model(admin, name("B"), notes=WORD, source_ref=WORD)
    run = scenery.make_run(dataset, base, name=name("R"), notes=WORD)
    scenery.make_metrics(run, 5)
    model = scenery.finish_run(run)
    failed = scenery.make_run(dataset, model, name=name("F"), state=WorkState.FAILED, cause=WORD, log_tail=WORD)
    other = scenery.make_run(dataset, base, name=name("O"), state=WorkState.RUNNING, hosts=2)
    RunShare.objects.create(
        run=other, run_epoch=1, rank=1, owner=f"{WORD}:7", message=WORD, state=WorkState.RUNNING, created_by=admin
    )
    scenery.make_metrics(other, 5, seed=1)
    judge = scenery.finish_run(scenery.make_run(dataset, base, "reward", name=name("J")))
    for comparison in comparisons:
        for response, policy, score in ((comparison.response_a, base, 0.5), (comparison.response_b, model, 1.5)):
            Response.objects.filter(pk=response.pk).update(model=policy)
            ResponseScore.objects.create(response=response, model=judge, score=score)
    job = SamplingJob.objects.create(project=project, model_a=base, model_b=model, created_by=admin)
    alone = ["home", "project_list", "project_create", "run_list", "run_new", "model_list", "model_add", "person_list"]
    rooms = ["project_detail", "project_edit", "member_list", "import_list", "dataset_list", "dataset_new", "compare"]
    return [
        *map(reverse, [*alone, "account"]),
        *(reverse(room, args=[project.slug]) for room in [*rooms, "sampling_list"]),
        *(reverse("run_detail", args=[each.pk]) for each in (run, failed, other)),
        f"{reverse('run_compare')}?run={run.pk}&run={other.pk}&all=1",
        reverse("model_win_rates", args=[judge.pk]),
        *(reverse("model_detail", args=[each.pk]) for each in (base, model)),
        *(reverse(room, args=[dataset.pk]) for room in ("dataset_detail", "dataset_votes")),
        reverse("sampling_detail", args=[job.pk]),
        reverse("comparison_detail", args=[comparisons[0].pk]),
    ]


@pytest.mark.parametrize(("width", "language"), [(390, "en-GB"), (390, "ko"), (1280, "en-GB")])
def test_no_page_grows_wider_than_the_window(
    browser: Browser, live_server: Any, admin: User, paths: list[str], width: int, language: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, locale=language)
    add_session(context, live_server.url, admin)
    page = context.new_page()
    wide: dict[str, int] = {}
    for path in paths:
        answer = page.goto(live_server.url + path)
        assert answer is not None and answer.status == 200, path
        for summary in page.locator("details > summary:visible").all():
            summary.click()
        if (beyond := page.evaluate(MEASURE)) > 0:
            wide[path] = beyond
    context.close()
    assert not wide


@pytest.mark.parametrize("room", ["run_list", "model_list"])
def test_a_long_name_leaves_room_for_the_next_column(
    browser: Browser, live_server: Any, admin: User, paths: list[str], room: str
) -> None:
    """On a phone the state of a run stands beside its name, however long names and tags are."""
    run = Run.objects.order_by("pk")[0]
    set_tags(run=run, names=["t" * 30, "u" * 30], by=admin)
    context = browser.new_context(viewport={"width": 390, "height": 800})
    add_session(context, live_server.url, admin)
    page = context.new_page()
    page.goto(live_server.url + reverse(room))
    cell = page.locator("tbody tr > th + td").first.bounding_box()
    context.close()
    assert cell is not None and cell["x"] < 300


def test_beside_long_names_figures_stay_whole(
    browser: Browser, live_server: Any, admin: User, paths: list[str]
) -> None:
    """On a phone, runs beside each other: a value in a legend is one line, and no column is as wide as a name."""
    compared = next(path for path in paths if path.startswith(reverse("run_compare")))
    context = browser.new_context(viewport={"width": 390, "height": 800})
    add_session(context, live_server.url, admin)
    page = context.new_page()
    page.goto(live_server.url + compared)
    expect(page.locator("[data-value]").first).not_to_have_text("–")
    boxes = "(all, side) => all.map(each => each.getBoundingClientRect()[side])"
    heights = page.locator("[data-value]").evaluate_all(boxes, "height")
    widths = page.locator("thead th").evaluate_all(boxes, "width")
    context.close()
    assert max(heights) < 30 and max(widths) < 200
