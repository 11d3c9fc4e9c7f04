"""A token preview in a real browser: followed until it is there, read on a phone, and left for the form."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Browser, Page, expect

from annotate.models import Project
from models_registry.models import ModelVersion, WorkState
from tests import scenery
from tests.e2e.conftest import SignIn, add_session, check_axe
from tests.tiny_tokenizers import train_family
from tests.training.engine.runs import make_record, write_jsonl
from training.engine.config import TrainingConfig
from training.models import TokenPreview

RECORDS = [
    make_record(
        "김치찌개는 어떻게 끓여요? 🍲\n재료부터 알려 주세요. <|im_end|>",
        "돼지고기와 신김치를 냄비에 볶다가 물을 부어요.\n\n" + "그리고 15분 동안 끓여요. " * 12,
        "몰라요. 👨‍👩‍👧",
    ),
    make_record("ما هي عاصمة فرنسا؟", "عاصمة فرنسا هي باريس.", "لا أعرف.\nAsk someone else."),
    make_record("What is the capital of France?\n\tAnd of Japan?", "Paris and 東京.", "I do not know." + " a" * 90),
    make_record("same", "yes", "yes"),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the engine says, once a method."""
    from training.engine.preview import preview

    path = write_jsonl(tmp_path_factory.mktemp("data") / "train.jsonl", RECORDS)
    limits = {"max_length": 150, "max_prompt_length": 60}
    configs = {method: TrainingConfig.from_dict(method, limits) for method in ("dpo", "sft")}
    configs["reward"] = dataclasses.replace(TrainingConfig.from_dict("reward", limits), overlong="truncate")
    return {
        method: json.loads(json.dumps(preview(path, train_family("qwen"), config)))
        for method, config in configs.items()
    }


@pytest.fixture
def base(admin: User) -> ModelVersion:
    return scenery.make_model(admin)


def make_preview(project: Project, base: ModelVersion, method: str = "dpo", **fields: Any) -> TokenPreview:
    dataset = project.dataset_versions.first() or scenery.make_dataset(project)
    config = TrainingConfig.from_dict(method, {}).to_dict()
    given = {"method": method, "config": config, "base_model": base, "dataset_version": dataset}
    return TokenPreview.objects.create(**(given | {"created_by": base.created_by} | fields))


def test_the_page_follows_the_preview_and_leads_through_examples_to_the_form(
    page: Page, live_server: Any, sign_in_browser: SignIn, project: Project, base: ModelVersion, results: Any
) -> None:
    scenery.make_dataset(project)
    sign_in_browser(base.created_by)
    page.goto(live_server.url + reverse("run_new"))
    page.get_by_label("Learning rate").fill("1e-6")
    page.get_by_label("Notes").fill("mine & yours")
    page.get_by_role("button", name="Preview tokens").click()
    expect(page.get_by_role("heading", name="Token preview")).to_be_visible()
    expect(page.locator("#preview")).to_contain_text("Waiting for a worker")
    TokenPreview.objects.update(state=WorkState.FINISHED, result=results["dpo"])
    expect(page.locator("#preview")).to_have_attribute("data-state", "finished")
    expect(page.locator("#messages")).to_contain_text("Finished")
    expect(page.get_by_role("heading", name="Tokens of line 1")).to_be_visible()
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("heading", name="Tokens of line 2")).to_be_visible()
    arabic = page.get_by_role("region", name="Chosen")
    assert arabic.evaluate("box => getComputedStyle(box).direction") == "rtl"
    page.get_by_role("link", name="Previous").click()
    expect(page.get_by_role("region", name="Chosen").locator("del")).to_contain_text("끓여요")
    page.get_by_role("link", name="Launch with these settings").click()
    expect(page.get_by_label("Learning rate")).to_have_value("1e-6")
    expect(page.get_by_label("Notes")).to_have_value("mine & yours")


@pytest.fixture(params=["light", "dark"])
def phone(request: pytest.FixtureRequest, browser: Browser, live_server: Any, admin: User) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, color_scheme=request.param, reduced_motion="reduce"
    )
    add_session(context, live_server.url, admin)
    yield context.new_page()
    context.close()


def test_it_fits_a_phone_and_holds_to_the_accessibility_rules(
    phone: Page, live_server: Any, project: Project, base: ModelVersion, results: Any
) -> None:
    previews = [
        make_preview(project, base, method, state=WorkState.FINISHED, result=result)
        for method, result in results.items()
    ]
    previews.append(make_preview(project, base, state=WorkState.FAILED, cause="The file is gone.", cause_code="failed"))
    for preview in previews:
        phone.goto(live_server.url + reverse("preview_detail", args=[preview.pk]))
        wide = phone.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{wide} pixels too wide"
        check_axe(phone, runOnly=["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"])
