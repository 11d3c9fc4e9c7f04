"""The launch form: drawn from the engine's settings, checked by them, and forgetting nothing that was typed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from annotate.models import AuditEvent, DatasetVersion, Project
from models_registry.models import ModelKind, ModelVersion, WorkState
from tests import scenery
from training.engine.config import METHODS, list_settings
from training.models import Run

SignIn = Callable[[User], Client]
NEW = "/runs/new/"


@pytest.fixture
def client(client: Client, admin: User) -> Client:
    client.force_login(admin)
    return client


def read_form(page: str) -> dict[str, str]:
    """Names and values of a page's text and hidden fields, its chosen radios and options."""
    found = {}
    for tag in re.findall(r"<input[^>]*>", page):
        name, value = (re.search(rf'{part}="([^"]*)"', tag) for part in ("name", "value"))
        kind = re.search(r'type="(\w+)"', tag)
        if name and kind and (kind[1] in ("text", "hidden") or " checked" in tag):
            found[name[1]] = value[1] if value else "on" if kind[1] == "checkbox" else ""
    for name, body in re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        if chosen := re.search(r'<option value="([^"]*)" selected', body):
            found[name] = chosen[1]
    found.pop("csrfmiddlewaretoken", None)
    return found


def test_without_data_and_models_the_page_says_what_is_needed(client: Client) -> None:
    page = client.get(NEW).content.decode()
    assert "Two things are needed first" in page
    assert reverse("project_list") in page
    assert reverse("model_list") in page
    assert "<form id=" not in page


@pytest.mark.parametrize("method", METHODS)
def test_every_setting_of_a_method_is_drawn_with_its_usual_value_and_help(
    client: Client, dataset: DatasetVersion, base: ModelVersion, method: str
) -> None:
    page = client.get(NEW, {"method": method}).content.decode()
    values = read_form(page)
    for setting in list_settings(method):
        if setting.type is not bool:
            assert float(values[setting.name]) == setting.default if setting.type in (int, float) else True
        assert f'id="id_{setting.name}_helptext"' in page
    others = {item.name for other in METHODS for item in list_settings(other)} - {
        item.name for item in list_settings(method)
    }
    assert not others & values.keys()


def test_a_run_is_launched_with_what_was_typed(client: Client, dataset: DatasetVersion, base: ModelVersion) -> None:
    values = read_form(client.get(NEW, {"method": "dpo"}).content.decode())
    answer = client.post(NEW, values | {"learning_rate": "1e-6", "beta": "0.2", "notes": "first try"})
    run = Run.objects.get()
    assert answer.headers["Location"] == reverse("run_detail", args=[run.pk])
    assert (run.method, run.base_model, run.dataset_version, run.notes) == ("dpo", base, dataset, "first try")
    assert (run.config["learning_rate"], run.config["beta"], run.config["epochs"]) == (1e-6, 0.2, 1.0)
    assert run.name == "SmolLM2-135M-Instruct-dpo-1"


def test_the_proposed_name_is_one_that_nothing_has(client: Client, dataset: DatasetVersion, base: ModelVersion) -> None:
    scenery.make_run(dataset, base, name="SmolLM2-135M-Instruct-dpo-1")
    scenery.make_model(base.created_by, "SmolLM2-135M-Instruct-dpo-2")
    page = client.get(NEW, {"method": "dpo", "base": str(base.pk)}).content.decode()
    assert read_form(page)["name"] == "SmolLM2-135M-Instruct-dpo-3"
    client.post(NEW, read_form(page) | {"name": ""})
    assert Run.objects.filter(name="SmolLM2-135M-Instruct-dpo-3").exists()


@pytest.mark.parametrize(
    ("field", "typed", "words"),
    [
        ("learning_rate", "fast", "must be a number"),
        ("learning_rate", "-1", "must be at least"),
        ("learning_rate", "nan", "must be a finite number"),
        ("batch_size", "2.5", "must be a whole number"),
        ("epochs", "1e9", "must be at most"),
        ("max_prompt_length", "4096", "must be smaller than max_length"),
        ("margin", "huge", "Select a valid choice"),
        ("dataset", "999", "Select a valid choice"),
        ("dataset", "9" * 30, "Select a valid choice"),
        ("base", "abc", "Select a valid choice"),
        ("name", "x" * 101, "at most 100 characters"),
        ("seed", "1\x00", "Null characters are not allowed"),
    ],
)
def test_bad_input_gets_words_at_its_field_and_launches_nothing(
    client: Client, dataset: DatasetVersion, base: ModelVersion, field: str, typed: str, words: str
) -> None:
    values = read_form(client.get(NEW, {"method": "dpo"}).content.decode())
    answer = client.post(NEW, values | {field: typed, "weight_decay": "0.125"})
    page = answer.content.decode()
    assert answer.status_code == 422
    error = re.search(rf'id="id_{field}_error">([^<]*)<', page)
    assert error and words in error[1]
    assert read_form(page)["weight_decay"] == "0.125"
    assert re.search(r"<details[^>]*\bopen\b", page) or field not in ("batch_size", "max_prompt_length")
    assert not Run.objects.exists()


def test_a_taken_name_is_named_at_its_field(client: Client, dataset: DatasetVersion, base: ModelVersion) -> None:
    scenery.make_run(dataset, base, name="taken")
    values = read_form(client.get(NEW, {"method": "dpo"}).content.decode())
    page = client.post(NEW, values | {"name": "taken"}).content.decode()
    assert re.search(r'id="id_name_error">[^<]*taken', page)


@pytest.mark.parametrize("without_script", [False, True])
def test_typed_values_survive_a_change_of_the_method_and_back(
    client: Client, dataset: DatasetVersion, base: ModelVersion, without_script: bool
) -> None:
    def redraw(values: dict[str, Any]) -> dict[str, str]:
        if without_script:
            return read_form(client.post(NEW, values | {"redraw": "1"}).content.decode())
        return read_form(client.get(NEW, values, headers={"HX-Request": "true"}).content.decode())

    typed = read_form(client.get(NEW, {"method": "dpo"}).content.decode())
    fresh = client.get(NEW, typed | {"method": "reward"}).content.decode()
    assert not re.search(r"<details[^>]*\bopen\b", fresh), "nothing unusual was typed, so nothing unfolds"
    typed |= {"epochs": "3", "beta": "0.3", "notes": "keep me", "gradient_checkpointing": "on", "seed": "oops"}
    reward = redraw(typed | {"method": "reward"})
    assert (reward["epochs"], reward["notes"], reward["seed"]) == ("3", "keep me", "oops")
    assert "gradient_checkpointing" in reward
    assert reward["learning_rate"] == "2e-5"  # untouched before, so the new method's usual value
    assert reward["name"] == "SmolLM2-135M-Instruct-reward-1"
    again = redraw(reward | {"method": "dpo"})
    assert (again["beta"], again["epochs"], again["learning_rate"]) == ("0.3", "3", "5e-6")
    own_name = redraw(again | {"method": "orpo", "name": "my own"})
    assert own_name["name"] == "my own"
    assert not Run.objects.exists()


def test_links_choose_method_dataset_and_base(client: Client, project: Project, base: ModelVersion) -> None:
    first, _second = scenery.make_dataset(project, 1), scenery.make_dataset(project, 2)
    other = scenery.make_model(base.created_by, "other")
    values = read_form(
        client.get(NEW, {"method": "orpo", "dataset": str(first.pk), "base": str(other.pk)}).content.decode()
    )
    assert (values["method"], values["dataset"], values["base"]) == ("orpo", str(first.pk), str(other.pk))


@pytest.mark.parametrize("query", [{"method": "ppo"}, {"dataset": "x"}, {"base": "9" * 30}, {"like": "-1"}])
def test_a_wrong_link_gives_the_usual_form(
    client: Client, dataset: DatasetVersion, base: ModelVersion, query: dict[str, str]
) -> None:
    answer = client.get(NEW, query)
    assert answer.status_code == 200
    assert read_form(answer.content.decode())["dataset"] == str(dataset.pk)


def test_a_new_run_like_another_starts_from_its_settings(
    client: Client, dataset: DatasetVersion, base: ModelVersion
) -> None:
    run = scenery.make_run(dataset, base, "orpo", config={"beta": 0.25, "gradient_checkpointing": True})
    values = read_form(client.get(NEW, {"like": run.pk}).content.decode())
    assert (values["method"], values["beta"]) == ("orpo", "0.25")
    assert "gradient_checkpointing" in values
    assert values["name"] != run.name


def test_a_clone_says_what_is_changed_before_launch_and_after(
    client: Client, project: Project, dataset: DatasetVersion, base: ModelVersion
) -> None:
    original = scenery.make_run(dataset, base, config={"learning_rate": 1e-5}, name="the original")
    newer = scenery.make_dataset(project, 2)
    page = client.get(NEW, {"like": original.pk}).content.decode()
    assert "Nothing is changed." in page
    typed = read_form(page) | {"learning_rate": "0.000005", "dataset": str(newer.pk)}
    assert (typed["learning_rate"], typed["like"]) == ("0.000005", str(original.pk))
    shown = client.get(reverse("run_changes"), typed).content.decode()
    redrawn = client.get(NEW, typed | {"redraw": "1"}).content.decode()
    run = Run.objects.get(pk=int(client.post(NEW, typed).headers["Location"].split("/")[-2]))
    assert (run.cloned_from, run.dataset_version) == (original, newer)
    for text in (shown, redrawn, client.get(reverse("run_detail", args=[run.pk])).content.decode()):
        words = " ".join(re.sub(r"<[^>]+>", "", text).split())
        assert f"Cloned from the original, changed: Dataset version {dataset} → {newer}; " in words
        assert "Learning rate 1e-5 → 5e-6." in words
    noted = AuditEvent.objects.get(action="run_launched", number=run.pk)
    assert noted.after["cloned from"] == "the original"


def test_a_clone_that_errs_says_the_rest(client: Client, dataset: DatasetVersion, base: ModelVersion) -> None:
    original = scenery.make_run(dataset, base)
    typed = read_form(client.get(NEW, {"like": original.pk}).content.decode())
    changed = client.get(reverse("run_changes"), typed | {"learning_rate": "fast", "epochs": "7"}).content.decode()
    assert "Epochs" in changed and "Learning rate" not in changed
    assert client.get(reverse("run_changes"), {"like": "9" * 30}).content.decode().strip() == ""


def test_only_what_can_be_trained_is_offered(client: Client, project: Project, base: ModelVersion) -> None:
    good = scenery.make_dataset(project, 1)
    scenery.make_dataset(project, 2, train_rows=0)
    scenery.make_dataset(project, 3, state=WorkState.RUNNING)
    scenery.make_model(base.created_by, "unready", ready=False)
    scorer = scenery.make_model(base.created_by, "scorer", kind=ModelKind.REWARD)
    for method, bases in (("dpo", {base.pk}), ("reward", {base.pk, scorer.pk})):
        page = client.get(NEW, {"method": method}).content.decode()
        offered = {
            name: {int(pk) for pk in re.findall(r'<option value="(\d+)"', body)}
            for name, body in re.findall(r'<select name="(dataset|base)"[^>]*>(.*?)</select>', page, re.DOTALL)
        }
        assert offered == {"dataset": {good.pk}, "base": bases}


def test_launching_is_for_admins(sign_in: SignIn, labeler: User) -> None:
    assert sign_in(labeler).get(NEW).status_code == 403
    assert sign_in(labeler).post(NEW).status_code == 403


def test_recipe_fills_the_form_and_gives_way_to_another(
    client: Client, dataset: DatasetVersion, base: ModelVersion
) -> None:
    def redraw(values: dict[str, Any]) -> dict[str, str]:
        return read_form(client.get(NEW, values, headers={"HX-Request": "true"}).content.decode())

    plain = redraw({"method": "dpo"})
    filled = redraw(plain | {"recipe": "dpo-paper", "seed": "7"})
    assert (filled["learning_rate"], filled["warmup_steps"], filled["seed"]) == ("5e-7", "150", "7")
    typed = redraw(filled | {"warmup_steps": "20"})
    assert typed["warmup_steps"] == "20", "what is typed over a recipe stays"
    other = redraw(typed | {"recipe": "trl-dpo"})
    assert (other["learning_rate"], other["warmup_steps"]) == ("1e-6", "20")
    assert other["max_grad_norm"] == "1", "the values of the recipe before give way"
    none = redraw(other | {"recipe": "", "warmup_steps": "0", "seed": "42"})
    assert none == plain | {"name": none["name"]}


def test_what_was_typed_stays_against_a_recipe_and_the_page_says_so(
    client: Client, dataset: DatasetVersion, base: ModelVersion
) -> None:
    typed = read_form(client.get(NEW, {"method": "dpo"}).content.decode())
    typed |= {"recipe": "dpo-paper", "learning_rate": "3e-6", "warmup_steps": "150.0"}
    page = client.get(NEW, typed, headers={"HX-Request": "true"}).content.decode()
    values = read_form(page)
    assert (values["learning_rate"], values["schedule"]) == ("3e-6", "constant")
    assert "values stand in brackets: Learning rate (5e-7)." in page, "one number is another, not 150.0 for 150"
    assert "values stand in brackets" not in client.get(NEW, {"recipe": "dpo-paper"}).content.decode()
    client.post(NEW, typed)
    run = Run.objects.get()
    assert (run.config["learning_rate"], run.config["schedule"]) == (3e-6, "constant")


def test_recipe_gives_way_when_the_method_changes(client: Client, dataset: DatasetVersion, base: ModelVersion) -> None:
    filled = read_form(client.get(NEW, {"method": "dpo", "recipe": "dpo-paper"}).content.decode())
    assert filled["learning_rate"] == "5e-7"
    other = read_form(client.get(NEW, filled | {"method": "orpo"}, headers={"HX-Request": "true"}).content.decode())
    plain = read_form(client.get(NEW, {"method": "orpo"}, headers={"HX-Request": "true"}).content.decode())
    assert other == plain


def test_recipe_chosen_without_a_redraw_is_launched_with_its_values(
    client: Client, dataset: DatasetVersion, base: ModelVersion
) -> None:
    values = read_form(client.get(NEW, {"method": "orpo"}).content.decode())
    client.post(NEW, values | {"recipe": "orpo-paper"})
    run = Run.objects.get()
    assert (run.recipe, run.config["schedule"], run.config["epochs"]) == ("orpo-paper", "inverse square root", 5.0)
