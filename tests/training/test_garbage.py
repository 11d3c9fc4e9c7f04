"""The collection of garbage: takes what nothing needs, and never anything else, whatever happens in between."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from annotate.models import (
    Comparison,
    DatasetVersion,
    DatasetVersionJudgment,
    Import,
    Project,
    Response,
    SamplingJob,
    ScoringJob,
)
from models_registry.models import ModelKind, ModelVersion, WorkState
from models_registry.promotions import promote
from models_registry.store import open_store, put_folder
from tests import scenery
from tests.annotate.votes import vote
from training import garbage, trash
from training.archiving import archive, restore
from training.models import Run, RunShare
from training.services import launch_run, retry_run

SignIn = Callable[[User], Client]
Api = Callable[[User], APIClient]
OLD = 3 * 24 * 3600


@pytest.fixture(autouse=True)
def house(tmp_path: Path, settings: Any) -> Path:
    """A DATA_DIR of this test's own."""
    settings.DATA_DIR = tmp_path
    return tmp_path


def fill(folder: Path, *names: str, size: int = 1000) -> Path:
    for name in names or ("model.safetensors",):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * size)
    return folder


def grow_old(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder's ctime cannot be set; the clock can."""
    now = timezone.now().timestamp() + OLD
    monkeypatch.setattr("training.garbage.time.time", lambda: now)


def list_going() -> set[str]:
    return {thing.place for thing in garbage.make_plan().goes}


def explain(place: str) -> str:
    return next(thing.reason for thing in garbage.make_plan().stays if thing.place == place)


def throw_away(model: ModelVersion, admin: User) -> None:
    fill(model.folder)
    archive(model, reason="x", by=admin)


def test_weights_go_once_nothing_needs_them(base: ModelVersion, dataset: DatasetVersion, admin: User) -> None:
    place = f"models/{base.pk}"
    fill(base.folder)
    assert (list_going(), explain(place)) == (set(), "It is not archived.")
    archive(base, reason="old", by=admin)
    run = scenery.make_run(dataset, base, state=WorkState.FAILED)
    assert explain(place) == f"The run {run.name} may be taken up again."
    archive(run, reason="old", by=admin)
    child = scenery.make_model(admin, "child", base=base)
    assert explain(place) == "child comes of it and is in use."
    archive(child, reason="old", by=admin)
    assert list_going() == {place}
    done = garbage.collect(by=admin)
    assert [(thing.place, thing.bytes) for thing in done.taken] == [(place, 1000)]
    base.refresh_from_db()
    assert base.weights_removed_at is not None
    assert not base.folder.exists()
    assert "were removed" in base.explain_unusable()
    assert garbage.collect(by=admin) == garbage.Collected(), "a second time there is nothing to do"
    [entry] = trash.list_entries()
    garbage.put_back(entry, by=admin)
    base = ModelVersion.objects.get(pk=base.pk)
    assert (base.weights_removed_at, (base.folder / "model.safetensors").stat().st_size) == (None, 1000)
    assert trash.list_entries() == []
    assert [event.action for event in base.events.all()] == ["weights_restored", "weights_removed", "archived"]


def test_votes_of_a_dataset_in_use_keep_the_models_that_answered(
    base: ModelVersion, comparisons: list[Comparison], dataset: DatasetVersion, admin: User, labeler: User
) -> None:
    throw_away(base, admin)
    Response.objects.filter(pk=comparisons[0].response_b_id).update(model=base)
    DatasetVersionJudgment.objects.create(
        dataset_version=dataset, judgment=vote(comparisons[0], labeler), split="train"
    )
    assert explain(f"models/{base.pk}") == f"{dataset} rests on votes about its answers."
    archive(dataset, reason="x", by=admin)
    assert list_going() == {f"models/{base.pk}"}


@pytest.mark.parametrize("state", [WorkState.QUEUED, WorkState.RUNNING])
def test_any_kind_of_work_under_way_keeps_its_models(
    state: WorkState, base: ModelVersion, project: Project, admin: User
) -> None:
    throw_away(base, admin)
    judge = scenery.make_model(admin, "judge", kind=ModelKind.REWARD)
    throw_away(judge, admin)
    job = SamplingJob.objects.create(
        project=project, model_a=scenery.make_model(admin, "other"), model_b=base, state=state, created_by=admin
    )
    scoring = ScoringJob.objects.create(project=project, model=judge, state=state, created_by=admin)
    assert list_going() == set()
    assert "sampling job" in explain(f"models/{base.pk}")
    assert "scoring job" in explain(f"models/{judge.pk}")
    for work in (job, scoring):
        type(work).objects.update(state=WorkState.CANCELLED)
    assert list_going() == {f"models/{base.pk}", f"models/{judge.pk}"}


def test_runs_keep_what_they_can_be_taken_up_from(base: ModelVersion, dataset: DatasetVersion, admin: User) -> None:
    finished = scenery.make_run(dataset, base, state=WorkState.FINISHED, epoch=2)
    stopped = scenery.make_run(dataset, base, state=WorkState.CANCELLED, epoch=4)
    running = scenery.make_run(dataset, base, state=WorkState.RUNNING, epoch=2)
    for run in (finished, stopped, running):
        for epoch in range(1, run.epoch + 1):
            fill(run.folder / f"attempt-{epoch}", "log.txt", "checkpoints/step-00000010/state.json")
    first, second = f"runs/{finished.pk}", f"runs/{stopped.pk}"
    assert list_going() == {
        f"{first}/attempt-1",
        f"{first}/attempt-2/checkpoints",
        f"{second}/attempt-1/checkpoints",
        f"{second}/attempt-2/checkpoints",
    }
    assert explain(f"runs/{running.pk}") == "It waits, runs or is paused."
    archive(stopped, reason="x", by=admin)
    garbage.collect(by=admin)
    assert (finished.folder / "attempt-2" / "log.txt").exists()
    assert (stopped.folder / "attempt-4" / "log.txt").exists()
    assert not (stopped.folder / "attempt-4" / "checkpoints").exists()
    assert (running.folder / "attempt-1" / "checkpoints").exists()


def test_parts_of_an_attempt_go_however_they_ended(base: ModelVersion, dataset: DatasetVersion, admin: User) -> None:
    """A worker that is lost cannot clear up; nobody takes its part up again."""
    run = scenery.make_run(dataset, base, state=WorkState.CANCELLED)
    shares = {state: RunShare(run=run, run_epoch=1, rank=rank, state=state) for rank, state in enumerate(WorkState)}
    for share in shares.values():
        share.created_by = admin
        share.save()
        fill(share.folder / "attempt-1", "log.txt")
    over = (WorkState.FINISHED, WorkState.FAILED, WorkState.CANCELLED)
    assert list_going() == {f"run-shares/{shares[state].pk}" for state in over}
    with CaptureQueriesContext(connection) as queries:
        garbage.make_plan()
    assert not any('WHERE "training_run"."id" =' in query["sql"] for query in queries)  # not one by one


def test_finished_work_leaves_nothing_and_broken_off_work_what_it_needs(
    base: ModelVersion, project: Project, admin: User
) -> None:
    jobs = {
        state: SamplingJob.objects.create(project=project, model_a=base, model_b=base, state=state, created_by=admin)
        for state in (WorkState.FINISHED, WorkState.FAILED)
    }
    entered = Import.objects.create(project=project, format="pairs", state=WorkState.FINISHED, created_by=admin)
    for job in jobs.values():
        fill(job.folder / "attempt-1")
    fill(entered.folder, "upload", "attempt-1/rows.jsonl")
    assert list_going() == {f"sampling/{jobs[WorkState.FINISHED].pk}", f"imports/{entered.pk}/attempt-1"}
    garbage.collect(by=None)
    assert (entered.folder / "upload").exists()


def test_strangers_go_after_a_day_and_links_never(
    house: Path, base: ModelVersion, admin: User, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any
) -> None:
    outside = fill(tmp_path_factory.mktemp("outside"), "dear.txt")
    for place in ("models/999", "runs/998", "imports/.incoming-abc", "models/007", "models/notes", "runs/998x"):
        fill(house / place) if "incoming" not in place else fill(house / "imports", ".incoming-abc")
    (house / "runs" / "997").symlink_to(outside)
    (house / "runs" / "998" / "link").symlink_to(outside)
    (house / "sampling").symlink_to(outside)
    fill(outside, "5/model.safetensors")
    assert list_going() == set(), "their rows may be on their way"
    grow_old(house, monkeypatch)
    assert list_going() == {"models/999", "runs/998", "imports/.incoming-abc"}
    garbage.collect(by=admin)
    for entry in trash.empty(now=timezone.now() + timedelta(days=8)):
        assert not (house / "trash" / entry.name).exists()
    assert (outside / "dear.txt").exists()
    assert (outside / "5" / "model.safetensors").exists()
    assert (house / "models" / "007").exists()


def test_the_trash_is_emptied_after_its_time_and_never_half_put_back(base: ModelVersion, admin: User) -> None:
    throw_away(base, admin)
    garbage.collect(by=admin)
    [entry] = trash.list_entries()
    assert trash.empty(now=timezone.now() + timedelta(days=6)) == []
    fill(base.folder)
    with pytest.raises(trash.TrashError, match="Something else lies at"):
        garbage.put_back(entry, by=admin)
    [gone] = trash.empty(now=timezone.now() + timedelta(days=8))
    assert (gone.name, trash.list_entries()) == (entry.name, [])
    with pytest.raises(trash.TrashError):
        garbage.put_back(trash.Entry("20260101T000000-00000000", "../secret", 1, timezone.now(), True), by=admin)


def test_the_stored_copy_goes_with_what_leaves_the_trash(
    base: ModelVersion, admin: User, settings: Any, tmp_path_factory: Any
) -> None:
    settings.STORE_URL = tmp_path_factory.mktemp("store").as_uri()
    fill(base.folder)
    store = open_store()
    assert store is not None
    put_folder(store, "runs/1/attempt-1/model", base.folder)
    ModelVersion.objects.filter(pk=base.pk).update(facts={"stored": {"key": "runs/1/attempt-1/model", "sha256": ""}})
    archive(base, reason="x", by=admin)
    garbage.collect(by=admin)
    assert store.list("runs/1"), "it can still be put back"
    late = timezone.now() + timedelta(days=8)
    assert len(trash.empty(now=late, may_go=garbage.forget_stored)) == 1
    assert store.list("runs/1") == []


def test_one_collection_at_a_time_and_none_during_a_backup(base: ModelVersion, admin: User, tmp_path: Path) -> None:
    with trash.hold_files(), pytest.raises(trash.TrashError, match="Try again later"):
        garbage.collect(by=admin)
    with trash.hold_files(), pytest.raises(CommandError, match="Try again later"):
        call_command("backup", str(tmp_path.parent / "elsewhere"))


def test_the_command_shows_and_acts(base: ModelVersion, admin: User) -> None:
    throw_away(base, admin)

    def run(*arguments: str) -> str:
        out = StringIO()
        call_command("collect_garbage", *arguments, stdout=out)
        return out.getvalue()

    assert f"would go: models/{base.pk}  1000 bytes" in run()
    assert base.folder.exists()
    assert "stays: " not in run()
    assert f"to the trash: models/{base.pk}" in run("--delete")
    [entry] = trash.list_entries()
    assert entry.name in run("--all")
    assert "lies where it lay" in run("--put-back", entry.name)
    with pytest.raises(CommandError, match="there is nothing named"):
        run("--put-back", "../x")


def test_the_page_shows_moves_and_puts_back(sign_in: SignIn, base: ModelVersion, admin: User) -> None:
    throw_away(base, admin)
    fill(scenery.make_model(admin, "in use").folder)
    client = sign_in(admin)
    page = client.get(reverse("garbage")).content.decode()
    assert "It is archived and nothing needs its weights." in page
    assert "It is not archived." in page
    assert "1 thing went to the trash" in client.post(reverse("garbage"), follow=True).content.decode()
    assert "Its weights were removed" in client.get(reverse("model_detail", args=[base.pk])).content.decode()
    [entry] = trash.list_entries()
    back = client.post(reverse("garbage_put_back"), {"name": entry.name}, follow=True).content.decode()
    assert "lies where it lay" in back
    gone = client.post(reverse("garbage_put_back"), {"name": "\0"}, follow=True).content.decode()
    assert "not in the trash any more" in gone


def test_the_api_says_and_does_the_same(api: Api, base: ModelVersion, admin: User) -> None:
    throw_away(base, admin)
    client = api(admin)
    [going] = client.get(reverse("api_garbage")).json()["goes"]
    assert (going["place"], going["model"], going["bytes"]) == (f"models/{base.pk}", base.pk, 1000)
    assert client.post(reverse("api_garbage")).json()["taken"] == [going]
    [entry] = client.get(reverse("api_garbage")).json()["trash"]
    assert client.post(reverse("api_garbage_put_back"), {"name": entry["name"]}).status_code == 200
    assert client.post(reverse("api_garbage_put_back"), {"name": entry["name"]}).status_code == 400


def test_the_plan_asks_little_however_much_there_is(base: ModelVersion, dataset: DatasetVersion, admin: User) -> None:
    def count() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            garbage.make_plan()
        return len(queries)

    throw_away(base, admin)
    fill(scenery.make_run(dataset, base, state=WorkState.FINISHED).folder, "attempt-1/log.txt")
    few = count()
    for number in range(12):
        throw_away(scenery.make_model(admin, f"model {number}", base=base), admin)
        fill(scenery.make_run(dataset, base, state=WorkState.FINISHED).folder, "attempt-1/log.txt")
    assert count() == few


# -- Whatever the house looks like ------------------------------------------------------------------------------------


def needs_it(model: ModelVersion) -> bool:
    """Written anew, row by row, from the words of the promise alone."""
    model.refresh_from_db()
    if model.archived_at is None or model.ready_at is None:
        return True
    last = {(row.alias, row.kind): row.model_id for row in model.promotions.model.objects.order_by("pk")}
    if model.pk in last.values():
        return True
    for run in Run.objects.filter(base_model=model):
        if run.state in ("queued", "running") or (run.state != "finished" and run.archived_at is None):
            return True
    for job in SamplingJob.objects.filter(state__in=["queued", "running"]):
        if model.pk in (job.model_a_id, job.model_b_id, job.reward_model_id):
            return True
    if any(job.model_id == model.pk for job in ScoringJob.objects.filter(state__in=["queued", "running"])):
        return True
    for use in DatasetVersionJudgment.objects.all():
        pair = use.judgment.comparison
        if use.dataset_version.archived_at is None and model.pk in (pair.response_a.model_id, pair.response_b.model_id):
            return True
    return any(child.archived_at is None for child in model.descendants.all())


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
@pytest.mark.django_db
def test_nothing_that_something_needs_is_ever_proposed(seed: int) -> None:
    dice = random.Random(seed)
    with transaction.atomic():
        admin = User.objects.create_user("lead", is_staff=True)
        project = Project.objects.create(name="P", slug="p", created_by=admin)
        make_random_house(dice, project, admin)
        models = list(ModelVersion.objects.all())
        free = {f"models/{model.pk}" for model in models if not needs_it(model)}
        proposed = {place for place in list_going() if place.startswith("models/")}
        assert proposed == free
        transaction.set_rollback(True)
    for model in models:
        for path in model.folder.iterdir():
            path.unlink()
        model.folder.rmdir()


def make_random_house(dice: random.Random, project: Project, admin: User) -> None:
    states = ["queued", "running", "finished", "failed", "cancelled"]
    when = timezone.now()

    def put_away() -> dict[str, Any]:
        return {"archived_at": when, "archived_by": admin} if dice.random() < 0.7 else {}

    models: list[ModelVersion] = []
    for number in range(dice.randint(2, 6)):
        base = dice.choice([None, *models])
        made = scenery.make_model(admin, f"m{number}", base=base, ready=dice.random() < 0.9, **put_away())
        fill(made.folder, size=1)
        models.append(made)
    versions = [scenery.make_dataset(project, number, **put_away()) for number in range(1, 3)]
    for _number in range(dice.randint(0, 3)):
        scenery.make_run(dice.choice(versions), dice.choice(models), state=dice.choice(states), **put_away())
    for _number in range(dice.randint(0, 2)):
        SamplingJob.objects.create(
            project=project,
            model_a=dice.choice(models),
            model_b=dice.choice(models),
            reward_model=dice.choice([None, *models]),
            state=dice.choice(states),
            created_by=admin,
        )
        ScoringJob.objects.create(
            project=project, model=dice.choice(models), state=dice.choice(states), created_by=admin
        )
    if dice.random() < 0.5:
        prompt = project.prompts.create(messages=[], digest="d")
        sides = [prompt.responses.create(text=text, model=dice.choice([None, *models])) for text in ("a", "b")]
        pair = Comparison.objects.create(project=project, prompt=prompt, response_a=sides[0], response_b=sides[1])
        DatasetVersionJudgment.objects.create(
            dataset_version=dice.choice(versions), judgment=vote(pair, admin), split="train"
        )
    for _number in range(dice.randint(0, 2)):
        holder = dice.choice(models)
        holder.promotions.create(alias="production", kind=holder.kind, note="x", by=admin)


# -- Races and deaths -------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_launch_and_a_collection_at_once_never_leave_a_run_without_its_base(
    admin: User, project: Project, house: Path
) -> None:
    """Real threads on the real database: either the run is refused, or its base keeps its files."""
    version = scenery.make_dataset(project)
    ended: list[str] = []
    for number in range(12):
        model = scenery.make_model(admin, f"base {number}")
        old = scenery.make_run(version, model, state=WorkState.FAILED, archived_at=timezone.now(), archived_by=admin)
        throw_away(model, admin)
        barrier = threading.Barrier(2)
        stale = ModelVersion.objects.get(pk=model.pk)
        stale_run = Run.objects.select_related("base_model").get(pk=old.pk)

        def begin(number: int = number, stale: Any = stale, stale_run: Any = stale_run, barrier: Any = barrier) -> None:
            barrier.wait()
            try:
                restore(stale, by=admin)
                if number % 2:
                    values = {"dataset_version": version, "base_model": stale, "method": "dpo", "values": {}}
                    launch_run(name=f"run {number}", by=admin, **values)
                else:
                    restore(stale_run, by=admin)
                    retry_run(run=stale_run, by=admin)
                ended.append("begun")
            except Exception as error:
                ended.append(type(error).__name__)
            finally:
                connections.close_all()

        def collect(barrier: Any = barrier) -> None:
            barrier.wait()
            try:
                garbage.collect(by=admin)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=each) for each in (begin, collect)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        model.refresh_from_db()
        begun = Run.objects.filter(base_model=model, state=WorkState.QUEUED).exists()
        assert not (begun and (model.weights_removed_at or not model.folder.exists())), ended
        assert (model.weights_removed_at is None) == model.folder.exists(), "the row says what is there"
    assert set(ended) <= {"begun", "LaunchErrors", "CannotRetry"}, ended


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("step", ["mkdir", "rename", "after"])
def test_a_collection_killed_at_any_step_loses_nothing(step: str, admin: User, project: Project) -> None:
    """A real kill -9 in a process of its own; the next collection finishes, and the thing can be put back."""
    model = scenery.make_model(admin, "base")
    throw_away(model, admin)
    connections.close_all()
    if (child := os.fork()) == 0:
        real = os.rename

        def die(*paths: Any) -> None:
            if step == "after":
                real(*paths)
            os.kill(os.getpid(), signal.SIGKILL)

        if step == "mkdir":
            setattr(trash, "write_json_atomically", die)  # noqa: B010
        os.rename = die  # type: ignore[assignment]
        garbage.collect(by=None)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    model.refresh_from_db()
    assert model.weights_removed_at is not None, "nothing begins with weights that are on their way out"
    garbage.collect(by=None)
    assert not model.folder.exists()
    [entry] = [entry for entry in trash.list_entries() if entry.has_content]
    garbage.put_back(entry, by=None)
    model = ModelVersion.objects.get(pk=model.pk)
    assert (model.weights_removed_at, (model.folder / "model.safetensors").stat().st_size) == (None, 1000)


def test_a_promoted_model_stays_though_a_row_says_archived(base: ModelVersion, admin: User) -> None:
    fill(base.folder)
    promote(model=base, alias="production", note="x", by=admin)
    ModelVersion.objects.filter(pk=base.pk).update(archived_at=timezone.now())
    assert explain(f"models/{base.pk}") == "It is production."
