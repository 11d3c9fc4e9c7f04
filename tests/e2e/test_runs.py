"""Training, the registry and sampling in a real browser: curves are drawn, polling stops, pages fit a phone."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Browser, Page, Request, Route, expect

from annotate.models import DatasetVersion, Project, SamplingJob
from models_registry.machines import GB, Gpu, Machine
from models_registry.models import ModelKind, ModelVersion, WorkState
from models_registry.workers import beat
from tests import scenery
from tests.e2e.conftest import SignIn, add_session, check_axe
from training.models import ModelPush, Run, RunMetric

SMALL = Machine(gpus=(Gpu("NVIDIA L4", 10 * GB),) * 2, cores=2, memory=24 * GB, disk_free=500 * GB)
TOO_LARGE = "?batch_size=64&gradient_accumulation=1&tokens_per_pass=1000000&gradient_checkpointing=off"


@pytest.fixture
def base(admin: User) -> ModelVersion:
    return scenery.make_model(admin)


@pytest.fixture
def dataset(project: Project) -> DatasetVersion:
    return scenery.make_dataset(project)


def count_requests(page: Page) -> list[str]:
    """Addresses that the page asks for from now on."""
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    return asked


def test_curves_are_drawn_grow_and_stop_with_the_run(
    page: Page, live_server: Any, sign_in_browser: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    run = scenery.make_run(dataset, base, state=WorkState.RUNNING, step=20, log_tail="step 20")
    scenery.make_metrics(run, 20)
    sign_in_browser(admin)
    page.goto(live_server.url + reverse("run_detail", args=[run.pk]))
    charts = page.locator("[data-chart]")
    expect(charts.first.locator("canvas")).to_be_visible()
    expect(page.locator("[data-charts] canvas:visible")).to_have_count(4)
    loss = charts.first.get_by_role("img")
    words = r"^Loss: training 0\.\d{3} \(from 0\.\d{3} to 0\.\d{3}\), held-out 0\.\d{3} \(from"
    expect(loss).to_have_accessible_name(re.compile(words))
    assert (
        charts.first.locator("canvas").evaluate(
            "canvas => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size"
        )
        > 10
    ), "something must be painted"

    RunMetric.objects.create(run=run, step=30, values={"loss": 0.25, "eval_loss": 0.125})
    Run.objects.filter(pk=run.pk).update(step=30, log_tail="step 20\nstep 30")
    expect(loss).to_have_accessible_name(re.compile(r"held-out 0\.125 "))
    expect(page.get_by_text("30 / 68")).to_be_visible()
    expect(page.locator("#run-log")).to_contain_text("step 30")

    scenery.finish_run(Run.objects.get(pk=run.pk))
    expect(page.locator("#run-status")).to_have_attribute("data-state", "finished")
    expect(page.get_by_role("heading", name="Outcome")).to_be_visible()
    expect(page.get_by_role("link", name="Open the model")).to_be_visible()
    expect(page.locator("#messages")).to_contain_text("Finished")
    expect(page.locator("section[data-charts]")).to_have_attribute("data-state", "over")
    asked = count_requests(page)
    page.wait_for_timeout(2600)
    assert asked == []


def test_a_single_value_is_drawn_in_the_middle(
    page: Page, live_server: Any, sign_in_browser: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    run = scenery.make_run(dataset, base, state=WorkState.RUNNING, step=1)
    RunMetric.objects.create(run=run, step=1, values={"loss": 0.5})
    sign_in_browser(admin)
    page.goto(live_server.url + reverse("run_detail", args=[run.pk]))
    chart = page.locator("[data-chart]").first
    expect(chart.get_by_role("img")).to_have_accessible_name(re.compile(r"training 0\.500"))
    coloured = chart.locator("canvas").evaluate(
        """canvas => {
          const over = canvas.parentElement.querySelector(".u-over").getBoundingClientRect();
          const box = canvas.getBoundingClientRect();
          const middle = over.left - box.left + over.width / 2;
          // A strip beside the grid's line that may run through the middle; the grid itself is grey.
          const { data } = canvas.getContext("2d").getImageData(middle + 2, over.top - box.top, 1, over.height);
          let found = 0;
          for (let at = 0; at < data.length; at += 4) {
            const [red, green, blue, alpha] = data.slice(at, at + 4);
            if (alpha > 200 && Math.max(red, green, blue) - Math.min(red, green, blue) > 60) found += 1;
          }
          return found;
        }"""
    )
    assert coloured >= 3


def test_a_resumed_attempt_draws_its_curves_anew(
    page: Page, live_server: Any, sign_in_browser: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    run = scenery.make_run(dataset, base, state=WorkState.RUNNING)
    scenery.make_metrics(run, 20)
    sign_in_browser(admin)
    page.goto(live_server.url + reverse("run_detail", args=[run.pk]))
    loss = page.locator("[data-chart]").first.get_by_role("img")
    expect(loss).to_have_accessible_name(re.compile("held-out"))
    run.metrics.filter(step__gt=10).delete()
    run.metrics.filter(step=10).update(values={"loss": 0.5, "eval_loss": 0.4321})
    Run.objects.filter(pk=run.pk).update(epoch=2)
    expect(loss).to_have_accessible_name(re.compile(r"held-out 0\.432 "))


def test_new_values_leave_a_zoomed_view_alone(
    page: Page, live_server: Any, sign_in_browser: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    run = scenery.make_run(dataset, base, state=WorkState.RUNNING)
    scenery.make_metrics(run, 60)
    sign_in_browser(admin)
    page.goto(live_server.url + reverse("run_detail", args=[run.pk]))
    chart = page.locator("[data-chart]").first
    area = chart.locator(".u-over").bounding_box()
    assert area is not None
    middle = area["y"] + area["height"] / 2
    page.mouse.move(area["x"] + area["width"] * 0.2, middle)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] * 0.4, middle, steps=5)
    page.mouse.up()
    board = page.locator("section[data-charts]")
    expect(board).to_have_attribute("data-view", re.compile(r"\d"))
    zoomed = board.get_attribute("data-view")
    RunMetric.objects.create(run=run, step=100, values={"loss": 0.1, "eval_loss": 0.2})
    expect(chart.get_by_role("img")).to_have_accessible_name(re.compile(r"held-out 0\.200 "))
    assert board.get_attribute("data-view") == zoomed
    page.mouse.dblclick(area["x"] + area["width"] * 0.5, middle)
    expect(board).to_have_attribute("data-view", "")


def test_the_log_stays_where_the_reader_is(
    page: Page, live_server: Any, sign_in_browser: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    lines = "\n".join(f"line {number}" for number in range(150))
    run = scenery.make_run(dataset, base, state=WorkState.RUNNING, log_tail=lines)
    sign_in_browser(admin)
    page.goto(live_server.url + reverse("run_detail", args=[run.pk]))
    log = page.locator("#run-log")
    from_end = "box => box.scrollHeight - box.clientHeight - box.scrollTop"
    assert log.evaluate(from_end) < 2
    Run.objects.filter(pk=run.pk).update(log_tail=lines + "\nthe next line")
    expect(log).to_contain_text("the next line")
    assert log.evaluate(from_end) < 2, "who reads the end stays at the end"
    log.evaluate("box => { box.scrollTop = 100; }")
    Run.objects.filter(pk=run.pk).update(log_tail=lines + "\nand one more")
    expect(log).to_contain_text("and one more")
    assert log.evaluate("box => box.scrollTop") == 100


def test_a_run_is_launched_and_cancelled_by_hand(
    page: Page, live_server: Any, sign_in_browser: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    sign_in_browser(admin)
    page.goto(live_server.url + reverse("run_list"))
    page.get_by_role("link", name="Launch the first run").click()
    expect(page.locator("#run-verdict")).to_contain_text("34 steps")
    page.get_by_label("Epochs").fill("3")
    expect(page.locator("#run-verdict")).to_contain_text("102 steps")
    page.locator("#method-ipo").check()
    expect(page.get_by_label("Beta")).to_have_value("0.1")
    expect(page.get_by_label("Epochs")).to_have_value("3")
    expect(page.locator("#method-ipo")).to_be_focused()
    page.get_by_label("Learning rate").fill("quick")
    expect(page.locator("#run-estimate")).to_contain_text("There is no estimate yet")
    expect(page.locator("#run-verdict")).to_be_empty()
    page.get_by_role("button", name="Launch the run").click()
    expect(page.get_by_text("must be a number")).to_be_visible()
    expect(page.get_by_label("Epochs")).to_have_value("3")
    page.get_by_label("Learning rate").fill("1e-6")
    page.get_by_role("button", name="Launch the run").click()
    expect(page.get_by_role("heading", name="SmolLM2-135M-Instruct-ipo-1")).to_be_visible()
    expect(page.locator("#run-status")).to_contain_text("Waiting for a worker")
    page.get_by_text("Cancel…").click()
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator("#run-status")).to_contain_text("Cancelled")
    assert Run.objects.get().config["epochs"] == 3.0


def answer_late(route: Route) -> None:
    time.sleep(1.5)
    route.continue_()


def test_a_batch_that_fits_is_put_into_the_form_by_one_key(
    page: Page, live_server: Any, sign_in_browser: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    beat("small@here", ["gpu"], SMALL)
    sign_in_browser(admin)
    page.goto(live_server.url + reverse("run_new") + TOO_LARGE)
    expect(page.locator("#run-verdict")).to_contain_text("Fits on no worker that is up")
    take = page.get_by_role("button", name="Put it into the form")
    page.route(re.compile(r"/runs/new/\?"), answer_late)  # meanwhile the estimate asks anew, for what was typed
    page.get_by_label("Notes").fill("kept")
    take.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#run-verdict")).to_contain_text("Fits: ")
    expect(page.get_by_label("Batch size")).not_to_have_value("64")
    expect(page.get_by_label("Notes")).to_have_value("kept")
    expect(take).to_have_count(0)
    expect(page.locator("#run-estimate")).to_be_focused()
    assert not Run.objects.exists()
    page.get_by_label("Notes").press("Enter")  # launches, also in a form that was redrawn
    expect(page.get_by_role("heading", name="SmolLM2-135M-Instruct-dpo-1")).to_be_visible()
    config = Run.objects.get().config
    assert config["batch_size"] * config["gradient_accumulation"] == 64


def test_nothing_typed_is_lost_while_the_form_is_redrawn(
    page: Page, live_server: Any, sign_in_browser: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    sign_in_browser(admin)
    page.goto(live_server.url + reverse("run_new"))

    def answer_slowly(route: Route) -> None:
        page.wait_for_timeout(300)
        route.continue_()

    page.route("**/runs/new/?*", answer_slowly)
    page.locator("#method-ipo").check()
    page.get_by_label("Epochs").fill("7")  # waits until the field takes input again
    expect(page.get_by_label("Beta")).to_be_visible()
    expect(page.get_by_label("Epochs")).to_have_value("7")


def test_everything_works_without_javascript(
    browser: Browser, live_server: Any, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    context = browser.new_context(java_script_enabled=False)
    add_session(context, live_server.url, admin)
    page = context.new_page()
    page.goto(live_server.url + reverse("run_new"))
    page.get_by_label("Epochs").fill("2")
    page.locator("#method-orpo").check()
    page.get_by_role("button", name="Show the settings of this method").click()
    expect(page.get_by_label("Language modelling covers")).to_be_attached()
    expect(page.get_by_label("Epochs")).to_have_value("2")
    page.get_by_role("button", name="Launch the run").click()
    page.get_by_text("Cancel…").click()
    page.get_by_role("button", name="Cancel the run").click()
    page.get_by_role("button", name="Take it up again").click()
    expect(page.locator("#run-status")).to_contain_text("Waiting for a worker")
    run = Run.objects.get()
    assert (run.method, run.config["epochs"]) == ("orpo", 2.0)
    context.close()


def test_a_prompt_is_sampled_and_the_page_follows_the_job(
    page: Page, live_server: Any, sign_in_browser: SignIn, admin: User, project: Project, base: ModelVersion
) -> None:
    sign_in_browser(admin)
    page.goto(live_server.url + reverse("sampling_list", args=[project.slug]))
    limit = page.get_by_label("At most so many prompts")
    expect(limit).to_be_hidden()
    page.get_by_role("textbox", name="New prompt").fill("How long do eggs boil?")
    page.get_by_role("button", name="Sample", exact=True).click()
    expect(page.locator("#sampling-status")).to_contain_text("Waiting for a worker")
    SamplingJob.objects.update(state=WorkState.RUNNING, step=1)
    expect(page.locator("#sampling-status")).to_contain_text("1 / 2")
    SamplingJob.objects.update(state=WorkState.FINISHED, step=2, message="1 comparison")
    expect(page.get_by_role("link", name="Compare")).to_be_visible()
    asked = count_requests(page)
    page.wait_for_timeout(2600)
    assert asked == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_and_hold_to_the_accessibility_rules(
    browser: Browser,
    live_server: Any,
    admin: User,
    project: Project,
    dataset: DatasetVersion,
    base: ModelVersion,
    scheme: Any,
) -> None:
    run = scenery.make_run(dataset, base, config={"beta": 0.2})
    scenery.make_metrics(run, 40)
    model = scenery.finish_run(run)
    scenery.make_model(admin, "scorer", kind=ModelKind.REWARD)
    failed = scenery.make_run(dataset, model, state=WorkState.FAILED, cause="The loss exploded.", log_tail="step 1")
    coming = scenery.make_model(admin, "coming", ready=False)
    file = {"size": 269_060_552, "sha256": 64 * "a"}
    put = {"url": f"s3://models/house/hub/{model.pk}", "files": {"model.safetensors": file, "README.md": file}}
    ended = {"state": WorkState.FINISHED, "finished_at": run.finished_at, "created_by": admin}
    ModelPush.objects.create(model=model, result=put, **ended)
    scenery.make_import(coming, state=WorkState.FAILED, cause="No way to the hub.")
    job = SamplingJob.objects.create(project=project, model_a=base, model_b=model, created_by=admin)
    paths = [
        reverse("run_list"),
        reverse("run_new"),
        reverse("run_new") + TOO_LARGE + "&gpus=2",
        reverse("run_detail", args=[run.pk]),
        reverse("run_detail", args=[failed.pk]),
        reverse("model_list"),
        reverse("model_add"),
        reverse("model_detail", args=[model.pk]),
        reverse("model_detail", args=[coming.pk]),
        reverse("sampling_list", args=[project.slug]),
        reverse("sampling_detail", args=[job.pk]),
    ]
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme, reduced_motion="reduce")
    add_session(context, live_server.url, admin)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    beat("small@here", ["gpu"], SMALL)
    for path in paths:
        page.goto(live_server.url + path)
        for summary in page.locator("details > summary:visible").all():
            summary.click()
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is {wide} pixels too wide"
        check_axe(page, runOnly=["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"])
    assert not complaints, complaints
    context.close()
