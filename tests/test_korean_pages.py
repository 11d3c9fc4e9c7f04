"""The pages in Korean: nothing of ours is left in English, and days are written the Korean way."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from annotate.models import Comparison, Import, Project
from tests.catalogue import read_po
from tests.scenery import finish_run, make_dataset, make_import, make_metrics, make_model, make_run
from training.models import Run

SignIn = Callable[[User], Client]
KOREAN = {"accept-language": "ko"}


@pytest.fixture
def run(project: Project, admin: User, comparisons: list[Comparison]) -> Run:
    """A finished run with curves and remarks, beside one that failed and a model that could not be fetched."""
    base, dataset = make_model(admin), make_dataset(project)
    make_run(dataset, base, state="failed", cause_code="nan_loss", cause="Loss became infinite in step 3.")
    make_import(make_model(admin, "lost", ready=False), state="failed", cause_code="unreachable", cause="No way.")
    run = make_run(dataset, base)
    make_metrics(run)
    finish_run(run)
    return run


def find_english(html: str) -> list[str]:
    """Texts of the catalogue, of at least two words and without places, that stand in a page in English."""
    html = re.sub(r"<(script|style|pre)\b.*?</\1>|\bvalue=\"[^\"]*\"", " ", html, flags=re.DOTALL)
    plain = " ".join(unescape(html).split())
    ours = {entry.msgid for entry in read_po() if " " in entry.msgid and "%(" not in entry.msgid}
    return sorted(text for text in ours if re.search(rf"(?<!\w){re.escape(' '.join(text.split()))}(?!\w)", plain))


PAGES = [
    "home",
    "project_list",
    "project_create",
    "run_list",
    "run_new",
    "model_list",
    "model_add",
    "person_list",
    "account",
    "account_change_password",
    "account_logout",
]
ROOMS = ["project_detail", "project_edit", "member_list", "import_list", "dataset_list", "dataset_new", "compare"]


@pytest.mark.parametrize("name", PAGES)
def test_pages_speak_korean(sign_in: SignIn, admin: User, run: Run, name: str) -> None:
    html = sign_in(admin).get(reverse(name), headers=KOREAN).content.decode()
    assert '<html lang="ko"' in html
    assert find_english(html) == []


@pytest.mark.parametrize("name", [*ROOMS, "sampling_list"])
def test_rooms_of_a_project_speak_korean(sign_in: SignIn, admin: User, run: Run, project: Project, name: str) -> None:
    html = sign_in(admin).get(reverse(name, args=[project.slug]), headers=KOREAN).content.decode()
    assert find_english(html) == []


@pytest.mark.parametrize("method", ["reward", "dpo", "orpo"])
def test_the_launch_form_and_its_refusals_speak_korean(sign_in: SignIn, admin: User, run: Run, method: str) -> None:
    sent = {"method": method, "name": run.name, "learning_rate": "fast", "epochs": "1e9", "batch_size": "2.5"}
    answer = sign_in(admin).post(reverse("run_new"), sent, headers=KOREAN)
    html = answer.content.decode()
    assert answer.status_code == 422
    assert find_english(html) == []
    for words in ("숫자여야 합니다", "100 이하여야 합니다", "정수여야 합니다", "최적화", "보통 "):
        assert words in html


def test_runs_and_models_speak_korean(sign_in: SignIn, admin: User, run: Run) -> None:
    client = sign_in(admin)
    for each in Run.objects.all():
        html = client.get(reverse("run_detail", args=[each.pk]), headers=KOREAN).content.decode()
        assert find_english(html) == []
    assert (
        "학습이 발산했습니다" in client.get(reverse("run_detail", args=[run.pk - 1]), headers=KOREAN).content.decode()
    )
    finished = client.get(reverse("run_detail", args=[run.pk]), headers=KOREAN).content.decode()
    assert "max_length를 16384에서 모델의 한도인 8192토큰으로 낮췄습니다." in finished
    assert "65.5%" in finished and "65.5 %" not in finished
    for model in (run.base_model, run.model):
        assert model is not None
        html = client.get(reverse("model_detail", args=[model.pk]), headers=KOREAN).content.decode()
        assert find_english(html) == []


def test_bad_lines_of_an_import_are_named_in_both(sign_in: SignIn, admin: User, project: Project) -> None:
    listed = [{"line": 3, "code": "not_json", "field": "", "reason": "Not JSON at character 5."}]
    report = {"lines": 3, "good_lines": 2, "bad_lines": 1, "imported": 2, "problems": {"not_json": 1}, "notes": {}}
    report |= {"listed": listed, "ignored_fields": {}, "duplicates": {"in_file": 0, "in_project": 0}}
    work = Import.objects.create(project=project, created_by=admin, state="finished", report=report)
    url = reverse("import_detail", args=[work.pk])
    korean = sign_in(admin).get(url, headers=KOREAN).content.decode()
    assert "JSON이 아님" in korean and '<span class="muted" lang="en">Not JSON at character 5.</span>' in korean
    assert '<td class="break-words">Not JSON at character 5.</td>' in sign_in(admin).get(url).content.decode()


@pytest.mark.parametrize(
    ("language", "day"), [("ko", "2026. 3. 4. 15:06"), ("en", "4 Mar 2026, 15:06"), ("en-US", "4 Mar 2026, 15:06")]
)
def test_days_are_written_as_in_the_language(sign_in: SignIn, admin: User, run: Run, language: str, day: str) -> None:
    Run.objects.filter(pk=run.pk).update(started_at=datetime(2026, 3, 4, 15, 6, tzinfo=UTC))
    assert day in sign_in(admin).get(reverse("run_list"), headers={"accept-language": language}).content.decode()


def test_the_switch_in_the_header_changes_the_language(client: Client, db: None) -> None:
    login = reverse("account_login")
    assert "Log in" in client.get(login).content.decode()
    client.post(reverse("set_language"), {"language": "ko", "next": login})
    page = client.get(login).content.decode()
    assert "로그인" in page and find_english(page) == []
