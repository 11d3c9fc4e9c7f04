"""The loop that the product closes, clicked through on the house that ``make run`` starts.

Real pairs, a real worker, real training programs, and SmolLM2-135M-Instruct where its package can be fetched; else a
tiny model made on the spot. The test prints which of the two ran.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.conftest import wait_until_stored
from tests.e2e.house import House, open_house, read_jsonl
from tests.tiny_models import make_tiny_policy

PROJECT = "/projects/helpful-answers"
SHOTS = os.environ.get("SCREENSHOTS")
"""A folder: the pages of this test are photographed into it, for the README and for people who look."""

# Choices as keys: 1 is "left significantly better", 4 "unsure", 7 "right significantly better".
MINA_KEYS = "12673547"
TOMAS_KEYS = "7623"
SMALL_RUN = {"learning_rate": "1e-3", "lora_r": "8", "max_length": "192"}
SMALL_RUN |= {
    "batch_size": "2",
    "gradient_accumulation": "1",
    "max_steps": "6" if SHOTS else "3",
    "logging_steps": "1",
    "eval_steps": "0",
}
RUN_MINUTES = 8


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path / "data") as house:
        yield house


@pytest.mark.timeout(1500)
@pytest.mark.xdist_group("whole_loop")
def test_the_whole_loop(house: House, browser: Browser, tmp_path: Path) -> None:
    mina, tomas, lead = (sign_in(browser, house, name) for name in ("mina", "tomas", "lead"))
    compare_by_keyboard(mina, MINA_KEYS)
    compare_by_keyboard(tomas, TOMAS_KEYS)
    undo_and_skip(tomas)

    rows = freeze_dataset(lead, tmp_path)
    check_rows(rows, votes=MINA_KEYS + TOMAS_KEYS[:-1])

    base = wait_for_base_model(lead, house)
    print(f"the loop ran with {base}")
    for method in ("reward", "dpo", "orpo"):
        launch_run(lead, method, base, name=f"loop-{method}")
    for method in ("reward", "dpo", "orpo"):
        watch_run(lead, method)
    check_registry(lead, votes=len(rows))

    sample_two_responses(lead)
    release_what_is_held(lead)
    judge_the_samples(mina)
    expect(lead.get_by_role("alert")).to_have_count(0)


def sign_in(browser: Browser, house: House, name: str) -> Page:
    context: BrowserContext = browser.new_context(
        base_url=house.url, locale="en-GB", viewport={"width": 1280, "height": 800}, reduced_motion="reduce"
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto("/")
    page.get_by_label("Username").or_(page.get_by_label("Login")).fill(name)
    page.get_by_label("Password").fill(house.passwords[name])
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name=f"Hello {name}")).to_be_visible()
    return page


def compare_by_keyboard(page: Page, keys: str) -> None:
    page.goto(PROJECT + "/")
    page.get_by_role("link", name="comparing").click()  # "Start comparing", later "Go on comparing"
    page.wait_for_url("**/compare/")
    page.wait_for_load_state()  # the keys are the script's
    have_read = page.get_by_role("button", name="I have read them")
    if have_read.count():  # the first time, the guidelines
        have_read.click()
        expect(page.locator("#answer-form")).to_be_visible()
        page.wait_for_load_state()
    for key in keys:
        answer(page, key)
    photograph(page, "compare")


def undo_and_skip(page: Page) -> None:
    """Takes the last answer back and skips that pair instead."""
    before = page.locator("#answer-form input[name=token]").get_attribute("value")
    page.keyboard.press("z")
    expect(page.locator(f"#answer-form input[value='{before}']")).to_have_count(0)
    undone = page.locator("#answer-form input[name=token]").get_attribute("value")
    page.keyboard.press("s")
    page.get_by_role("dialog").get_by_role("radio").first.check()
    page.get_by_role("dialog").get_by_role("button", name="Skip").click()
    expect(page.locator(f"#answer-form input[value='{undone}']")).to_have_count(0)


def freeze_dataset(page: Page, folder: Path) -> list[dict[str, object]]:
    page.goto(f"{PROJECT}/datasets/new/")
    page.get_by_label("Prompts for evaluation").fill("20")
    page.get_by_role("button", name="Freeze the version").click()
    expect(page.get_by_text("Finished", exact=True)).to_be_visible()
    photograph(page, "dataset")
    rows = []
    for name in ("train.jsonl", "eval.jsonl"):
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        download.value.save_as(folder / name)
        rows += read_jsonl(folder / name)
    return rows


def check_rows(rows: list[dict[str, object]], votes: str) -> None:
    """As many rows as there were votes for a side; each a conversational preference."""
    assert len(rows) == sum(key != "4" for key in votes)
    for row in rows:
        assert isinstance(row["prompt"], list) and row["prompt"][-1]["role"] == "user"
        assert [message["role"] for message in (*row["chosen"], *row["rejected"])] == ["assistant"] * 2  # type: ignore[misc]
        assert row["chosen"] != row["rejected"]
    grades = [
        {"1": "significantly", "2": "slightly", "3": "negligibly"}[min(key, str(8 - int(key)))]
        for key in votes
        if key != "4"
    ]
    assert sorted(str(row["grade"]) for row in rows) == sorted(grades)


def wait_for_base_model(page: Page, house: House) -> str:
    """The demo model when it could be fetched; else a tiny one, registered as a local folder through the page."""
    page.goto("/models/")
    row = page.get_by_role("row").filter(has_text="SmolLM2-135M-Instruct")
    expect(row.get_by_text("Running").or_(row.get_by_text("Waiting"))).to_have_count(0, timeout=300_000)
    if row.get_by_text("Failed").count() == 0:
        photograph(page, "models")
        return "SmolLM2-135M-Instruct"
    folder = house.data_dir / "import-models" / "tiny"
    make_tiny_policy(folder, seed=0)
    page.goto("/models/add/")
    page.get_by_label("Local folder").check()
    page.get_by_label("Folder", exact=True).select_option(label="tiny")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("Ready")).to_be_visible()
    return "tiny"


def launch_run(page: Page, method: str, base: str, name: str) -> None:
    page.goto(f"/runs/new/?method={method}")
    page.get_by_label("Dataset version", exact=True).select_option(index=1)
    page.get_by_label("Base model", exact=True).select_option(label=f"{base} (Policy)")
    page.locator("input[name=name]").fill(name)
    page.get_by_text("All other settings").click()
    for field, value in SMALL_RUN.items():
        page.locator(f"[name={field}]").fill(value)
    if method == "reward":
        page.locator("[name=margin]").select_option("small")
        photograph(page, "launch")
    page.get_by_role("button", name="Launch the run").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def watch_run(page: Page, method: str) -> None:
    """The page finds its way to the end by itself; nobody reloads it."""
    page.goto("/runs/")
    page.get_by_role("link", name=f"loop-{method}").first.click()
    expect(page.locator("#run-status[data-state=finished]")).to_be_visible(timeout=RUN_MINUTES * 60_000)
    expect(page.locator("canvas").first).to_be_visible()
    expect(page.get_by_text("The longer", exact=False).first).to_be_visible()
    photograph(page, f"run-{method}")


def check_registry(page: Page, votes: int) -> None:
    page.goto("/models/")
    for method in ("reward", "dpo", "orpo"):
        expect(page.get_by_role("link", name=f"loop-{method}")).to_be_visible()
    page.get_by_role("link", name="loop-dpo").click()
    main = page.get_by_role("main")
    for words in ("Helpful answers v1", "loop-dpo", f"{votes} votes", "2 labelers"):
        expect(main.get_by_text(words).first).to_be_visible()
    photograph(page, "lineage")


def sample_two_responses(page: Page) -> None:
    page.goto(f"{PROJECT}/sampling/")
    page.get_by_label("New prompt", exact=True).fill("What should I pack for a rainy weekend in the mountains?")
    page.get_by_label("Model of the first response").select_option(label="loop-dpo")
    page.get_by_label("Model of the second response").select_option(label="loop-orpo")
    page.get_by_label("Longest response").fill("12")
    page.get_by_label("Reward model that scores them").select_option(label="loop-reward")
    page.get_by_role("button", name="Sample").click()
    expect(page.get_by_role("heading", name="Sampling 1")).to_be_visible()
    expect(page.locator("#sampling-status[data-state=finished]")).to_be_visible(timeout=300_000)
    results = page.get_by_role("main")
    expect(results.get_by_text("rainy weekend").first).to_be_visible()
    expect(results.get_by_text("loop-orpo").first).to_be_visible()
    photograph(page, "sampling")


def release_what_is_held(page: Page) -> None:
    """Where a new model happens to name itself, its pair waits for a reviewer."""
    page.goto(f"{PROJECT}/held/")
    release = page.get_by_role("main").get_by_role("button", name="Release")
    if release.count():
        release.click()
        expect(release).to_have_count(0)


def judge_the_samples(page: Page) -> None:
    """After the pair that she holds already, the newest model's answers come first; who wrote them stays hidden."""
    compare_by_keyboard(page, "2")
    expect(page.get_by_text("for a rainy weekend in the mountains?")).to_be_visible()
    assert "loop-" not in page.content()
    answer(page, "6")


def answer(page: Page, key: str) -> None:
    """Judges the pair shown and waits until the server has the answer and the next pair is the labeler's."""
    token = page.locator("#answer-form input[name=token]").get_attribute("value")
    assert token
    page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(page.locator(f"#answer-form input[value='{token}']")).to_have_count(0)
    wait_until_stored(page)


def photograph(page: Page, name: str) -> None:
    if SHOTS:
        page.wait_for_timeout(300)
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)
