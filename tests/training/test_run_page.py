"""The list of runs and the page of one, in every state."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from html import unescape
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from annotate.models import AuditEvent, DatasetVersion
from models_registry.models import ModelVersion, WorkState
from tests import scenery
from tests.training.evaluations import make_evaluation
from training.engine.recipes import fill_in
from training.models import Run, RunMetric

SignIn = Callable[[User], Client]
POLLS = 'hx-trigger="every'


def test_an_empty_list_says_what_to_do(sign_in: SignIn, admin: User) -> None:
    page = sign_in(admin).get(reverse("run_list")).content.decode()
    assert "No run yet" in page
    assert reverse("run_new") in page
    assert POLLS not in page


def test_the_list_asks_again_only_while_something_is_under_way(
    sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    client = sign_in(admin)
    scenery.finish_run(scenery.make_run(dataset, base, name="done"))
    page = client.get(reverse("run_list")).content.decode()
    assert "65.5 %" in page
    assert POLLS not in page
    scenery.make_run(dataset, base, name="going", state=WorkState.RUNNING, step=7)
    fragment = client.get(reverse("run_list"), headers={"HX-Request": "true"}).content.decode()
    assert POLLS in fragment
    assert "<html" not in fragment
    assert "7 / 68" in fragment


@pytest.mark.parametrize("state", WorkState)
def test_the_page_of_a_run_in_each_state(
    sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion, state: WorkState
) -> None:
    run = scenery.make_run(dataset, base, state=state)
    scenery.make_metrics(run, 12)
    if state == WorkState.FINISHED:
        scenery.finish_run(run)
    client = sign_in(admin)
    page = client.get(reverse("run_detail", args=[run.pk])).content.decode()
    status = client.get(reverse("run_status", args=[run.pk])).content.decode()
    over = state in (WorkState.FINISHED, WorkState.FAILED, WorkState.CANCELLED)
    for text in (page, status):
        assert f'data-state="{state}"' in text
        assert (POLLS in text) is not (over or state == WorkState.PAUSED)
    assert (reverse("run_cancel", args=[run.pk]) in page) is not over
    assert (reverse("run_pause", args=[run.pk]) in page) is (state in (WorkState.QUEUED, WorkState.RUNNING))
    assert (reverse("run_resume", args=[run.pk]) in page) is (state == WorkState.PAUSED)
    assert (reverse("run_retry", args=[run.pk]) in page) is (state in (WorkState.FAILED, WorkState.CANCELLED))
    assert ("Outcome" in page) is (state == WorkState.FINISHED)


def test_a_failure_shows_its_cause_in_words(
    sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    run = scenery.make_run(
        dataset, base, state=WorkState.FAILED, cause_code="nan_loss", cause="The loss <b>exploded</b>."
    )
    page = sign_in(admin).get(reverse("run_detail", args=[run.pk])).content.decode()
    assert "The loss &lt;b&gt;exploded&lt;/b&gt;." in page


def test_a_run_that_ended_without_values_shows_no_empty_curves(
    sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    client = sign_in(admin)
    for state, drawn in ((WorkState.QUEUED, True), (WorkState.FAILED, False)):
        run = scenery.make_run(dataset, base, state=state)
        page = client.get(reverse("run_detail", args=[run.pk])).content.decode()
        assert ("data-charts" in page) is drawn, state
        assert "No values yet" not in page or drawn


def test_the_outcome_names_accuracy_interval_baseline_grades_and_rows(
    sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    run = scenery.make_run(dataset, base, config={"learning_rate": 1e-5})
    scenery.finish_run(run)
    page = " ".join(sign_in(admin).get(reverse("run_detail", args=[run.pk])).content.decode().split())
    for words in (
        "65.5 %",
        "47 % – 80 %",
        "the longer response wins",
        "62.1 %",
        "Significantly better",
        "266</span> of 271 used",
        "3 left out: both responses are the same within the limit",
        "14 shortened (prompt 12, chosen 5)",
        "usually 5e-6",
    ):
        assert words in page, words


def test_the_outcome_is_drawn_and_told_in_tables(
    sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    run = scenery.make_run(dataset, base)
    scenery.finish_run(run, eval=make_evaluation())
    page = " ".join(sign_in(admin).get(reverse("run_detail", args=[run.pk])).content.decode().split())
    for key in ("accuracy", "calibration", "rewards"):
        assert f'data-plot-of="{key}"' in page
    assert 'aria-label="Accuracy by grade: All held-out pairs 7' in page
    for words in ("the left response wins", "Without a grade", "ECE ", "Mean ± standard deviation", "50 % – 55 %"):
        assert words in page, words
    assert 'style="' not in page.partition("<main")[2]


def test_a_result_of_another_engine_breaks_no_page(
    sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    run = scenery.make_run(dataset, base, state=WorkState.FINISHED, config=None)
    Run.objects.filter(pk=run.pk).update(
        result={"eval": {"calibration": {"bins": [{}]}}, "data": {"train": "?"}, "notes": ["kept"]}, config={}
    )
    RunMetric.objects.create(run=run, step=1, values={"loss": None, "odd": "text", "rewards/margins": True})
    assert sign_in(admin).get(reverse("run_detail", args=[run.pk])).status_code == 200


def test_metrics_come_from_a_step_on_and_say_when_it_is_over(
    sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    run = scenery.make_run(dataset, base, state=WorkState.RUNNING)
    scenery.make_metrics(run, 12)
    url = reverse("run_metrics", args=[run.pk])
    client = sign_in(admin)
    everything = json.loads(client.get(url).content)
    assert everything["steps"] == list(range(13))
    assert everything["values"]["eval_loss"][0] == 0.693
    assert everything["values"]["eval_loss"][1] is None
    assert (everything["attempt"], everything["over"]) == (1, False)
    assert json.loads(client.get(url, {"after": "10"}).content)["steps"] == [11, 12]
    for nonsense in ("x", "-5", "9" * 40, "٣"):
        assert json.loads(client.get(url, {"after": nonsense}).content)["steps"] == list(range(13))


def test_the_log_is_swapped_only_when_it_has_changed(
    sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    run = scenery.make_run(dataset, base, state=WorkState.RUNNING, log_tail="step 1 <script>")
    client = sign_in(admin)
    url = reverse("run_status", args=[run.pk])
    first = client.get(url)
    assert "step 1 &lt;script&gt;" in first.content.decode()
    known = {"state": "running", "log": first.context["log_mark"]}
    assert 'id="run-log"' not in client.get(url, known).content.decode()
    Run.objects.filter(pk=run.pk).update(log_tail="step 1\nstep 2")
    assert "step 2" in client.get(url, known).content.decode()


def test_the_whole_log_is_plain_text_from_the_folder_or_the_database(
    sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    run = scenery.make_run(dataset, base, state=WorkState.RUNNING, log_tail="only the tail")
    client = sign_in(admin)
    url = reverse("run_log", args=[run.pk])
    answer = client.get(url)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.content == b"only the tail"
    run.attempt_folder.mkdir(parents=True)
    (run.attempt_folder / "log.txt").write_text("from the first line on")
    assert b"".join(client.get(url)) == b"from the first line on"


def test_cancelling_and_taking_up_again(
    sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    run = scenery.make_run(dataset, base)
    client = sign_in(admin)
    client.post(reverse("run_cancel", args=[run.pk]))
    run.refresh_from_db()
    assert run.state == WorkState.CANCELLED
    again = client.post(reverse("run_cancel", args=[run.pk]), follow=True)
    assert "over already" in again.content.decode()
    client.post(reverse("run_retry", args=[run.pk]))
    run.refresh_from_db()
    assert run.state == WorkState.QUEUED
    again = client.post(reverse("run_retry", args=[run.pk]), follow=True)
    assert "can be tried again" in again.content.decode()


def test_pausing_and_resuming(sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion) -> None:
    run = scenery.make_run(dataset, base)
    client = sign_in(admin)
    page = client.post(reverse("run_pause", args=[run.pk]), follow=True).content.decode()
    assert 'data-state="paused"' in page and "goes on from its checkpoint" in page
    again = client.post(reverse("run_pause", args=[run.pk]), follow=True)
    assert "is paused or being cancelled already" in again.content.decode()
    client.post(reverse("run_resume", args=[run.pk]))
    run.refresh_from_db()
    assert run.state == WorkState.QUEUED
    again = client.post(reverse("run_resume", args=[run.pk]), follow=True)
    assert "Only what is paused" in again.content.decode()
    log = AuditEvent.objects.filter(kind="run", by=admin).order_by("pk").values_list("action", flat=True)
    assert list(log) == ["run_paused", "run_resumed"]


@pytest.mark.parametrize("name", ["run_cancel", "run_pause", "run_resume", "run_retry"])
def test_a_link_cannot_stop_or_start_a_run(
    sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion, name: str
) -> None:
    run = scenery.make_run(dataset, base)
    assert sign_in(admin).get(reverse(name, args=[run.pk])).status_code == 405


@pytest.mark.parametrize("name", ["run_detail", "run_status", "run_metrics", "run_log", "model_detail"])
def test_pages_are_for_admins_and_missing_ones_are_not_found(
    sign_in: SignIn, admin: User, labeler: User, name: str
) -> None:
    assert sign_in(labeler).get(reverse(name, args=[1])).status_code == 403
    assert sign_in(admin).get(reverse(name, args=[987654])).status_code == 404


@pytest.mark.parametrize(
    ("method", "recipe", "typed"),
    [
        ("dpo", "dpo-paper", {"learning_rate": 1.23456789e-6, "warmup_steps": 0, "length_buckets": False}),
        ("reward", "", {"margin": "custom", "margin_map": "significantly=2, slightly=1", "seed": 7}),
        ("sft", "", {}),
    ],
)
def test_the_page_says_what_the_run_comes_of_and_how_to_repeat_it(
    sign_in: SignIn,
    admin: User,
    dataset: DatasetVersion,
    base: ModelVersion,
    method: str,
    recipe: str,
    typed: dict[str, object],
) -> None:
    DatasetVersion.objects.filter(pk=dataset.pk).update(train_sha256="a1" * 32, eval_sha256="b2" * 32)
    run = scenery.make_run(dataset, base, method, recipe=recipe, config=fill_in(recipe, method, typed))
    page = sign_in(admin).get(reverse("run_detail", args=[run.pk])).content.decode()
    origin = unescape(re.sub(r"<[^>]+>", " ", page[page.index('id="origin"') : page.index('id="settings"')]))
    seed = str(typed.get("seed", 42))
    for words in ("a1" * 32, "b2" * 32, base.name, base.facts["sha256"]["model.safetensors"], "Seed", seed):
        assert words in origin, words
    if recipe:
        assert "DPO paper" in origin and "Learning rate 1.23456789e-6 (5e-7)" in origin
    command = re.search(r"python manage.py (launch_run .*)", origin)
    assert command
    call_command(*shlex.split(command[1]), stdout=StringIO())
    again = Run.objects.exclude(pk=run.pk).get()
    assert (again.config, again.recipe, again.dataset_version) == (run.config, recipe, dataset)
