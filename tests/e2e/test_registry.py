"""The registry in a real browser: models are chosen by keyboard and compared; lineage and garbage fit a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Page, expect

from annotate.models import Comparison, DatasetVersionJudgment, Project, Response, SamplingJob
from models_registry.models import WorkState
from tests import scenery
from tests.annotate.votes import vote
from tests.e2e.conftest import SignIn, check_axe, photograph
from training import garbage


def test_models_are_compared_walked_and_put_away(
    page: Page,
    live_server: Any,
    sign_in_browser: SignIn,
    admin: User,
    labeler: User,
    project: Project,
    comparisons: list[Comparison],
    settings: Any,
    tmp_path: Path,
) -> None:
    settings.DATA_DIR = tmp_path
    base = scenery.make_model(admin)
    job = SamplingJob.objects.create(
        project=project, model_a=base, model_b=base, state=WorkState.FINISHED, created_by=admin
    )
    Comparison.objects.update(sampling_job=job)
    version = scenery.make_dataset(project)
    gentle = scenery.finish_run(scenery.make_run(version, base, config={"beta": 0.1}))
    strict = scenery.finish_run(scenery.make_run(version, base, config={"beta": 0.5}))
    for pair, winner in zip(comparisons, "aab", strict=False):
        Response.objects.filter(pk=pair.response_a_id).update(model=strict)
        Response.objects.filter(pk=pair.response_b_id).update(model=gentle)
        said = vote(pair, labeler, winner)
        DatasetVersionJudgment.objects.create(dataset_version=version, judgment=said, split="train")
    sign_in_browser(admin)
    page.goto(live_server.url + reverse("model_list"))
    for name in (gentle.name, strict.name):
        box = page.get_by_role("checkbox", name=f"Compare {name}")
        box.focus()
        page.keyboard.press("Space")
        expect(box).to_be_checked()
    photograph(page, "models")
    page.get_by_role("button", name="Compare those that are ticked").press("Enter")
    expect(page.get_by_role("region", name="Win rates by people's votes")).to_contain_text("66.7 %")
    check_axe(page)
    photograph(page, "model-comparison")

    page.goto(live_server.url + reverse("lineage", args=["model", strict.pk]))
    check_axe(page)
    photograph(page, "lineage")
    page.get_by_role("group", name="Lineage").get_by_role("link", name=f"Model {base.name}").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(base.name)
    page.goto(live_server.url + reverse("lineage", args=["comparison", comparisons[0].pk]))
    photograph(page, "lineage-comparison")

    page.goto(live_server.url + reverse("model_detail", args=[gentle.pk]))
    page.get_by_role("link", name="Archive…").click()
    page.get_by_label("Reason").fill("Too gentle.")
    photograph(page, "archive")
    page.get_by_role("button", name="Archive").press("Enter")
    expect(page.get_by_text("Too gentle.").first).to_be_visible()
    for model in (base, gentle):
        model.folder.mkdir(parents=True)
        (model.folder / "model.safetensors").write_bytes(b"x" * 3_000_000)
    DatasetVersionJudgment.objects.all().delete()
    page.goto(live_server.url + reverse("garbage"))
    check_axe(page)
    photograph(page, "garbage")
    page.get_by_role("button", name="Move it to the trash").click()
    expect(page.get_by_role("region", name="In the trash")).to_contain_text(f"models/{gentle.pk}")
    photograph(page, "trash")
    page.goto(live_server.url + reverse("model_detail", args=[gentle.pk]))
    photograph(page, "weights-removed")
    assert not garbage.make_plan().goes
