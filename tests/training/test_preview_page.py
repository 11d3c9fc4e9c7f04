"""A token preview from the launch form to its page and back, by a real worker and program; the API; the sweep."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from html import unescape
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils.translation import override

from annotate.models import DatasetVersion
from models_registry import supervisor, tasks
from models_registry.inference.program import ProgramError
from models_registry.models import ModelVersion, WorkState
from models_registry.stored_texts import translate_stored
from tests.tiny_models import make_tiny_policy
from tests.training.test_launch_page import read_form
from training import previews
from training.engine.config import TrainingConfig
from training.engine.data import Dataset, require_rows
from training.engine.recipes import list_recipes
from training.models import Run, TokenPreview
from training.services import LaunchErrors
from training.views import preview_words

START = "/token-previews/"
API = "/api/v1/token-previews/"
SIDES = {
    "korean": ("김치찌개는 어떻게 끓여요? 🍲", "돼지고기와 신김치를 볶아요.", "몰라요. 👨‍👩‍👧"),
    "arabic": ("ما هي عاصمة فرنسا؟", "باريس.", "لا أعرف"),
    "markup": ("<script>alert(1)</script> <|im_end|>", "<b>bold</b> & \u202eevil", "no\ttab"),
    "long": ("word " * 60, "yes " * 90, "no"),
    "same": ("x", "same", "same"),
}

NO_NOTICES: dict[str, Any] = {
    "limits": {"max_length": 8},
    "cut": {"rows": 0},
    "data": {},
    "control_strings": [],
}

Ask = Callable[..., TokenPreview]


@pytest.fixture
def client(client: Client, admin: User) -> Client:
    client.force_login(admin)
    return client


@pytest.fixture(autouse=True)
def worker(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in ("annotate", "models_registry", "training"):
        import_module(f"{room}.tasks")
    settings.HEARTBEAT_SECONDS = 0.1
    monkeypatch.setattr(supervisor, "POLL_S", 0.05)


@pytest.fixture
def ask(dataset_version: DatasetVersion, base_model: ModelVersion, admin: User) -> Ask:
    """ask(method="sft", values={...}): with everything else as it should be."""

    def ask(**changed: Any) -> TokenPreview:
        usual: dict[str, Any] = {"dataset_version": dataset_version, "base_model": base_model, "by": admin}
        return previews.request_preview(**(usual | {"method": "dpo", "values": {}} | changed))

    return ask


def write_sides(version: DatasetVersion) -> None:
    rows = [
        {
            "prompt": [{"role": "user", "content": prompt}],
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
        }
        for prompt, chosen, rejected in SIDES.values()
    ]
    version.train_path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    version.train_sha256 = ""
    version.save()


def finish(preview: TokenPreview, result: dict[str, Any] | None = None) -> None:
    TokenPreview.objects.filter(pk=preview.pk).update(state=WorkState.FINISHED, result=result or {})


def get_text(page: str) -> str:
    """What is read, without tags."""
    return unescape(re.sub(r"<[^>]+>", "", page))


@pytest.mark.django_db(transaction=True)
def test_from_the_form_through_a_worker_to_the_page_and_back(
    client: Client, dataset_version: DatasetVersion, base_model: ModelVersion
) -> None:
    make_tiny_policy(base_model.folder)
    write_sides(dataset_version)
    new = reverse("run_new")
    form = read_form(client.get(new, {"method": "orpo"}).content.decode())
    typed = form | {"max_length": "128", "max_prompt_length": "64", "learning_rate": "1e-6", "notes": "mine"}
    answer = client.post(START, typed)
    preview = TokenPreview.objects.get()
    assert answer.headers["Location"] == reverse("preview_detail", args=[preview.pk]) + "?notes=mine"
    waiting = client.get(answer.headers["Location"]).content.decode()
    assert 'hx-trigger="every 1s"' in waiting and "Waiting for a worker" in waiting

    assert tasks.run_next("short")
    preview.refresh_from_db()
    assert preview.state == "finished", preview.cause + preview.log_tail
    assert (preview.result["data"]["read"], preview.result["data"]["used"]) == (5, 4)
    assert not preview.folder.exists()
    status = client.get(reverse("preview_status", args=[preview.pk]), {"state": "running"}).content.decode()
    assert "hx-get" not in status and "Token preview: Finished" in status

    page = client.get(answer.headers["Location"]).content.decode()
    text = get_text(page)
    assert "4 of 5" in text and "1 left out: both responses are the same (line 5)" in text
    assert "1 pair is shortened" in text and "(line 4)" in text
    assert "stands in the text of 1 pair" in text
    assert re.search(r'<mark class="tok-trained">.*?<span class="tok" title="[\d ]+">김</span>', page, re.DOTALL)
    assert re.search(r'<span class="tok" title="\d+ \d+[ \d]*">🍲</span>', page), "four tokens, one character"
    assert page.count('dir="auto"') == 3

    link = re.search(r'href="([^"]+)">Launch with these settings', page)
    assert link
    again = read_form(client.get(unescape(link[1])).content.decode())
    assert {**again, "next": typed["next"]} == typed  # "next" is for the choice of the language
    assert not Run.objects.exists()

    # The same settings lead to the same preview at once; another example is another address of it.
    assert client.post(START, typed).headers["Location"] == answer.headers["Location"]
    cut = client.get(reverse("preview_detail", args=[preview.pk]), {"example": 4}).content.decode()
    assert '<del class="tok-cut">' in cut and "Tokens of line 4" in get_text(cut)
    arabic = client.get(reverse("preview_detail", args=[preview.pk]), {"example": 2}).content.decode()
    assert "باريس" in re.sub(r"<[^>]+>", "", arabic)


@pytest.mark.django_db(transaction=True)
def test_text_of_the_data_reaches_the_page_as_text(
    client: Client, dataset_version: DatasetVersion, base_model: ModelVersion, ask: Ask
) -> None:
    make_tiny_policy(base_model.folder)
    write_sides(dataset_version)
    preview = ask(method="reward")
    assert tasks.run_next("short")
    page = client.get(reverse("preview_detail", args=[preview.pk]), {"example": "3"}).content.decode()
    body = page[page.index('id="preview"') :]
    assert "<script" not in body and "<b>" not in body
    assert "<script>alert(1)</script>" in get_text(body)
    assert '<span class="hidden-mark" title="RIGHT-TO-LEFT OVERRIDE (U+202E)">RLO</span>' in body
    assert "\u202e" not in body
    assert body.count('<span class="tok-score">score</span>') == 2
    assert "Read for the score" in body and "tok-trained" not in body
    for number in ("0", "99", "-1", "x", "9" * 30):
        answer = client.get(reverse("preview_detail", args=[preview.pk]), {"example": number})
        assert answer.status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_failure_is_told_in_words_and_tried_again_when_asked_again(
    client: Client, dataset_version: DatasetVersion, base_model: ModelVersion, ask: Ask
) -> None:
    make_tiny_policy(base_model.folder)
    dataset_version.train_path.write_text("{}\n")
    preview = ask()
    assert tasks.run_next("short")
    page = client.get(reverse("preview_detail", args=[preview.pk])).content.decode()
    assert "Failed" in page and "hx-get" not in page[page.index('id="preview"') :]
    preview.refresh_from_db()
    assert preview.cause_code == "bad_data" and "SHA-256" in preview.cause
    assert ask() != preview


def test_the_same_settings_on_the_same_data_are_one_preview(ask: Ask, base_model: ModelVersion) -> None:
    first = ask()
    assert ask() == ask(values={"max_length": "1024"}) == first
    assert first.key != ask(values={"max_length": "512"}).key
    assert first.key != ask(method="ipo").key
    finish(first)
    assert ask() == first
    TokenPreview.objects.filter(pk=first.pk).update(state=WorkState.CANCELLED)
    assert ask() != first


def test_what_cannot_be_launched_cannot_be_previewed(ask: Ask, base_model: ModelVersion) -> None:
    with pytest.raises(LaunchErrors, match="max_length"):
        ask(values={"max_length": "1"})
    ModelVersion.objects.filter(pk=base_model.pk).update(ready_at=None)
    base_model.refresh_from_db()
    with pytest.raises(LaunchErrors, match="not ready"):
        ask()
    assert not TokenPreview.objects.exists()


def test_the_form_comes_back_with_what_is_wrong(client: Client, ask: Ask) -> None:
    form = read_form(client.get(reverse("run_new"), {"method": "dpo"}).content.decode())
    answer = client.post(START, form | {"max_length": "many", "notes": "kept"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert re.search(r'id="id_max_length_error">must be a number', page)
    assert read_form(page)["notes"] == "kept"
    assert not TokenPreview.objects.exists()


def test_the_launch_form_has_the_button(client: Client, ask: Ask) -> None:
    page = client.get(reverse("run_new")).content.decode()
    assert re.search(rf'<button[^>]*formaction="{START}"[^>]*>Preview tokens', page)


def test_only_the_newest_are_kept(ask: Ask, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(previews, "KEPT", 3)
    made = [ask(values={"seed": number}) for number in range(6)]
    for preview in made[1:]:
        finish(preview)
        preview.folder.mkdir(parents=True)
    previews.sweep_previews()
    left = set(TokenPreview.objects.values_list("pk", flat=True))
    assert left == {made[0].pk, *(preview.pk for preview in made[3:])}, "one that is waited for stays"
    assert sorted(path.name for path in Path(settings.DATA_DIR, "token-previews").iterdir()) == sorted(
        str(preview.pk) for preview in made[3:]
    )


def test_settings_off_their_usual_value_come_back_to_the_form(client: Client, ask: Ask) -> None:
    usual = TrainingConfig.from_dict("dpo", {}).to_dict()
    preview = ask(values={"length_buckets": not usual["length_buckets"], "packing": True, "lora_r": 8})
    page = client.get(reverse("preview_detail", args=[preview.pk])).content.decode()
    link = re.search(r'href="([^"]+)">Launch with these settings', page)
    assert link
    query = parse_qs(urlsplit(unescape(link[1])).query, keep_blank_values=True)
    assert set(query) == {"method", "dataset", "base", "length_buckets", "packing", "lora_r"}
    form = read_form(client.get(unescape(link[1])).content.decode())
    assert "length_buckets" not in form and form["lora_r"] == "8" and "packing" in form


def test_a_recipe_comes_back_with_what_was_changed_in_it(client: Client, ask: Ask) -> None:
    new = reverse("run_new")
    recipe = list_recipes("dpo")[0]
    drawn = client.get(new, {"method": "dpo", "recipe": recipe.name}).content.decode()
    typed = read_form(drawn) | {"learning_rate": "0.125"}
    assert recipe.values.get("learning_rate") != 0.125
    page = client.get(client.post(START, typed).headers["Location"]).content.decode()
    link = re.search(r'href="([^"]+)">Launch with these settings', page)
    assert link
    again = read_form(client.get(unescape(link[1])).content.decode())
    assert {**again, "next": typed["next"]} == typed


def test_a_recipe_chosen_without_a_redraw_is_previewed_with_its_values(client: Client, ask: Ask) -> None:
    typed = read_form(client.get(reverse("run_new"), {"method": "dpo"}).content.decode())
    client.post(START, typed | {"recipe": "dpo-paper", "max_length": "300"})
    preview = TokenPreview.objects.get()
    assert (preview.config["max_length"], preview.config["max_prompt_length"]) == (300, 256)
    assert preview.config["max_grad_norm"] == 10


def test_why_a_run_would_fail_is_told_in_the_reader_s_language(client: Client, ask: Ask) -> None:
    dropped = {"identical_sides": 2, "too_long": 1, "not_wanted": 3}
    with pytest.raises(ProgramError) as failed:
        require_rows(Dataset([], "", 6, Counter(dropped)), Path("train.jsonl"))
    with override("ko"):
        said = translate_stored(str(failed.value), preview_words.REASONS)
        notice = next(preview_words._list_notices({"problem": str(failed.value)} | NO_NOTICES))
    assert said and notice.is_problem and notice.text.endswith(said)
    assert "두 응답이 같음(2), 한도보다 김(1)" in said


def test_api(client: Client, dataset_version: DatasetVersion, base_model: ModelVersion) -> None:
    body: dict[str, Any] = {"method": "dpo", "dataset_version": dataset_version.pk, "base_model": base_model.pk}
    made = client.post(API, body | {"values": {"max_length": 64}}, content_type="application/json")
    assert made.status_code == 202
    preview = TokenPreview.objects.get()
    assert made.json() | {"id": preview.pk, "state": "queued", "result": {}} == made.json()
    assert made.json()["config"]["max_length"] == 64
    again = client.post(API, body | {"values": {"max_length": "64"}}, content_type="application/json")
    assert again.json()["id"] == preview.pk
    finish(preview, {"data": {"read": 5}})
    assert client.get(f"{API}{preview.pk}/").json()["result"] == {"data": {"read": 5}}
    listed = client.get(API).json()["results"]
    assert [row["id"] for row in listed] == [preview.pk] and "result" not in listed[0]
    filled = client.post(
        API, body | {"recipe": "dpo-paper", "values": {"max_length": 300}}, content_type="application/json"
    )
    assert (filled.json()["config"]["max_length"], filled.json()["config"]["max_prompt_length"]) == (300, 256)
    other = client.post(API, body | {"recipe": "orpo-paper"}, content_type="application/json")
    assert (other.status_code, list(other.json())) == (400, ["recipe"])
    wrong = client.post(API, body | {"values": {"max_length": 1}, "method": "sft"}, content_type="application/json")
    assert wrong.status_code == 400 and "max_length" in wrong.json()["values"]
    assert client.post(API, body | {"max_length": 1}, content_type="application/json").status_code == 400


def test_the_command_shows_it_in_the_terminal(
    dataset_version: DatasetVersion, base_model: ModelVersion, capfd: pytest.CaptureFixture[str]
) -> None:
    make_tiny_policy(base_model.folder)
    write_sides(dataset_version)
    where = ["--dataset", f"{dataset_version.project.slug}/1", "--base", base_model.name, "--method", "reward"]
    call_command("preview_tokens", *where, "--set", "max_length=200", "--examples", "1")
    printed = capfd.readouterr().out
    assert "reward, at most 200 tokens" in printed
    assert "1 × longer than the limit: line 4" in printed and "1 × both responses are the same: line 5" in printed
    assert "김│치" in printed and "[score is read here]" in printed
    dataset_version.train_path.unlink()
    with pytest.raises(CommandError, match="failed"):
        call_command("preview_tokens", *where)
    assert "bad_data" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"--dataset": "kitchen-help/7"},
            r"--dataset: there is no version 'kitchen-help/7'. There are: \d+ or kitchen-help/1",
        ),
        ({"--dataset": "9" * 30}, "--dataset: there is no version"),
        ({"--dataset": "nowhere/1"}, "no project"),
        ({"--base": "nobody"}, "There are: tiny base"),
        ({"--set": "max_length=1"}, "--set max_length: must be at least"),
        ({"--recipe": "orpo-paper"}, "--recipe: "),
        ({"--set": "max_length"}, "NAME=VALUE"),
    ],
)
def test_the_command_names_what_it_does_not_know(
    dataset_version: DatasetVersion, base_model: ModelVersion, changed: dict[str, str], words: str
) -> None:
    options = {"--dataset": "kitchen-help/1", "--base": base_model.name, "--method": "dpo"} | changed
    with pytest.raises(CommandError, match=words):
        call_command("preview_tokens", *(part for option in options.items() for part in option))
