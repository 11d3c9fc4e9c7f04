"""Who owns a row: claims, fences, ends, and what becomes of the rows of dead owners."""

from __future__ import annotations

import time
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from models_registry import leases
from models_registry.machines import Machine
from models_registry.models import ModelImport, ModelVersion
from tests.models_registry.conftest import MakeWork


@pytest.fixture(autouse=True)
def _at_once(settings: Any) -> None:
    """A lease that is over counts at first sight."""
    settings.HEARTBEAT_SECONDS = 0


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queues that were called."""
    sent: list[str] = []
    monkeypatch.setattr(leases, "send_hint", sent.append)
    return sent


def read(work: ModelImport) -> ModelImport:
    return ModelImport.objects.get(pk=work.pk)


def let_expire(work: ModelImport) -> None:
    ModelImport.objects.filter(pk=work.pk).update(lease_until=Now() - timedelta(seconds=1))


def test_claim_gives_a_lease_by_the_database_clock(make_work: MakeWork, settings: Any) -> None:
    settings.LEASE_SECONDS = 90
    work = leases.claim(make_work(), "host:1")
    assert work is not None
    assert (work.state, work.owner, work.epoch) == ("running", "host:1", 1)
    assert work.lease_until is not None
    assert abs(work.lease_until - timezone.now() - timedelta(seconds=90)) < timedelta(seconds=10)


def test_second_claim_of_the_same_row_gets_nothing(make_work: MakeWork) -> None:
    work = make_work()
    assert leases.claim(work, "host:1") is not None
    assert leases.claim(work, "host:2") is None
    assert read(work).owner == "host:1"


def test_cancelled_row_is_not_claimed(make_work: MakeWork) -> None:
    work = make_work()
    leases.request_cancel(work)
    assert read(work).state == "cancelled"
    assert leases.claim(work, "host:1") is None


def test_oldest_comes_first(make_work: MakeWork) -> None:
    import_module("models_registry.tasks")  # registers the handler
    first, second = make_work(), make_work()
    assert [work.pk for work in leases.list_claimable("gpu", Machine())] == [first.pk]
    leases.claim(first, "host:1")
    assert [work.pk for work in leases.list_claimable("gpu", Machine())] == [second.pk]
    assert leases.list_claimable("short", Machine()) == []


@pytest.mark.parametrize(
    "write",
    [
        lambda work: leases.extend(work, step=9),
        leases.finish,
        leases.cancel,
        leases.pause,
        leases.requeue,
        leases.look,
        lambda work: leases.fail(work, "code", "text"),
        lambda work: leases.count_crash(work, "text"),
    ],
    ids=["extend", "finish", "cancel", "pause", "requeue", "look", "fail", "count_crash"],
)
def test_former_owner_writes_nothing(claimed: ModelImport, write: Any) -> None:
    leases.requeue(claimed)
    newer = leases.claim(claimed, "host:2")
    assert newer is not None
    with pytest.raises(leases.LeaseLost):
        write(claimed)
    now = read(claimed)
    assert (now.state, now.owner, now.epoch, now.step) == ("running", "host:2", 2, 0)


def test_lost_lease_takes_the_results_back(claimed: ModelImport) -> None:
    leases.requeue(claimed)
    with pytest.raises(leases.LeaseLost), transaction.atomic():
        ModelVersion.objects.filter(pk=claimed.model_id).update(notes="by a former owner")
        leases.finish(claimed)
    assert ModelVersion.objects.get(pk=claimed.model_id).notes == ""


def test_extend_renews_and_tells_of_a_cancel(claimed: ModelImport) -> None:
    let_expire(claimed)
    assert leases.extend(claimed, step=4, total_steps=8, message="Half way") is False
    now = read(claimed)
    assert now.lease_until is not None
    assert now.lease_until > timezone.now()
    assert (now.step, now.total_steps, now.message) == (4, 8, "Half way")
    leases.request_cancel(claimed)
    assert leases.extend(claimed) is True
    assert leases.look(claimed) is True


def test_ends(make_work: MakeWork) -> None:
    for write, state in ((leases.finish, "finished"), (leases.cancel, "cancelled")):
        work = leases.claim(make_work(), "host:1")
        assert work is not None
        write(work)
        now = read(work)
        assert (now.state, now.lease_until, now.is_over) == (state, None, True)
        assert now.finished_at is not None
        with pytest.raises(leases.CannotCancel):
            leases.request_cancel(work)


def test_failure_keeps_its_cause_and_can_be_retried(claimed: ModelImport, sent: list[str]) -> None:
    leases.fail(claimed, "disk_full", "The disk is full.\x00")
    now = read(claimed)
    assert (now.state, now.cause_code) == ("failed", "disk_full")
    assert now.cause.startswith("The disk is full.")
    leases.retry(claimed)
    now = read(claimed)
    assert (now.state, now.cause, now.cause_code, now.finished_at) == ("queued", "", "", None)
    with pytest.raises(leases.CannotRetry):
        leases.retry(claimed)


class TestPause:
    def test_what_waits_is_paused_at_once_and_claimed_by_nobody(self, make_work: MakeWork, sent: list[str]) -> None:
        work = make_work()
        leases.request_pause(work)
        assert (read(work).state, read(work).is_at_rest, read(work).is_over) == ("paused", True, False)
        assert leases.claim(work, "host:1") is None
        leases.reconcile(resend_after=timedelta(0))
        assert (read(work).state, sent) == ("paused", [])

    def test_resumed_work_waits_again_with_its_crashes_forgiven(
        self, make_work: MakeWork, sent: list[str], django_capture_on_commit_callbacks: Any
    ) -> None:
        work = make_work(crashes=2)
        leases.request_pause(work)
        with django_capture_on_commit_callbacks(execute=True):
            leases.resume(work)
        assert (read(work).state, read(work).crashes, sent) == ("queued", 0, ["gpu"])
        assert leases.claim(work, "host:1") is not None
        with pytest.raises(leases.CannotResume):
            leases.resume(work)

    def test_the_owner_hears_of_it_and_lets_go(self, claimed: ModelImport) -> None:
        leases.request_pause(claimed)
        leases.request_pause(claimed)  # a second click changes nothing
        assert leases.extend(claimed) is False
        assert claimed.pause_requested
        leases.pause(claimed)
        now = read(claimed)
        assert (now.state, now.owner, now.lease_until, now.pause_requested) == ("paused", "", None, False)

    def test_what_stopped_it_stands_there_until_it_is_resumed(self, claimed: ModelImport) -> None:
        leases.pause(claimed, "disk_full", "The disk is full.\x00")
        assert read(claimed).cause_code == "disk_full" and read(claimed).cause.startswith("The disk is full.")
        leases.resume(claimed)
        assert (read(claimed).cause, read(claimed).cause_code) == ("", "")

    @pytest.mark.parametrize("end", [leases.requeue, lambda work: leases.count_crash(work, "It died."), let_expire])
    def test_a_pause_outlives_drain_crash_and_loss_of_the_owner(self, claimed: ModelImport, end: Any) -> None:
        leases.request_pause(claimed)
        end(claimed)
        leases.reconcile()
        assert (read(claimed).state, read(claimed).crashes) == ("paused", 0)

    def test_who_cancels_wins(self, make_work: MakeWork, claimed: ModelImport) -> None:
        paused = make_work()
        leases.request_pause(paused)
        leases.request_cancel(paused)
        assert read(paused).state == "cancelled"
        leases.request_cancel(claimed)
        with pytest.raises(leases.CannotPause):
            leases.request_pause(claimed)
        leases.pause(claimed)  # by an owner that has not heard of the cancel
        leases.reconcile()
        assert read(claimed).state == "cancelled"
        with pytest.raises(leases.CannotPause, match="over already"):
            leases.request_pause(claimed)


def test_enqueue_calls_a_worker_after_the_commit(
    make_work: MakeWork, sent: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    work = make_work()
    with django_capture_on_commit_callbacks(execute=True):
        leases.enqueue(work)
        assert sent == []
    assert sent == ["gpu"]
    assert read(work).hinted_at is not None


class TestReconcile:
    def test_a_clock_that_was_set_takes_nothing_from_a_living_owner(
        self, claimed: ModelImport, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.HEARTBEAT_SECONDS, now = 10, 1000.0
        monkeypatch.setattr("models_registry.leases.time.monotonic", lambda: now)
        for _beat in range(5):  # each leaves a lease that is over by the clock of whoever looks
            leases.extend(claimed)
            ModelImport.objects.filter(pk=claimed.pk).update(lease_until=F("lease_until") - timedelta(hours=1))
            leases.reconcile()
            now += 15
        assert read(claimed).state == "running"
        leases.reconcile()
        now += 15
        assert read(claimed).state == "running"
        leases.reconcile()
        assert read(claimed).state == "queued"

    def test_a_lease_in_the_far_future_is_no_longer_than_others(
        self, claimed: ModelImport, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its owner died after its clock, an hour ahead, had been set right."""
        ModelImport.objects.filter(pk=claimed.pk).update(lease_until=Now() + timedelta(hours=1))
        now = 1000.0
        monkeypatch.setattr("models_registry.leases.time.monotonic", lambda: now)
        for _look in range(settings.LEASE_SECONDS // settings.RECONCILE_SECONDS):
            leases.reconcile()
            assert read(claimed).state == "running"
            now += settings.RECONCILE_SECONDS
        leases.reconcile()
        assert read(claimed).state == "queued"

    def test_an_owner_has_time_to_speak_when_the_database_is_back(
        self, claimed: ModelImport, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.HEARTBEAT_SECONDS, now = 20, 1000.0
        monkeypatch.setattr("models_registry.leases.time.monotonic", lambda: now)
        leases.reconcile()
        let_expire(claimed)
        leases.reconcile()
        now += 10 * settings.LEASE_SECONDS  # nobody could look meanwhile
        leases.reconcile()
        assert read(claimed).state == "running"
        now += settings.RECONCILE_SECONDS
        leases.reconcile()
        assert read(claimed).state == "queued"

    def test_leaves_live_owners_alone(self, claimed: ModelImport, sent: list[str]) -> None:
        leases.reconcile()
        assert read(claimed).state == "running"
        assert sent == []

    def test_requeues_what_a_dead_owner_left(
        self, claimed: ModelImport, sent: list[str], django_capture_on_commit_callbacks: Any
    ) -> None:
        let_expire(claimed)
        with django_capture_on_commit_callbacks(execute=True):
            leases.reconcile()
            leases.reconcile()
        now = read(claimed)
        assert (now.state, now.crashes, now.owner, now.lease_until) == ("queued", 1, "", None)
        assert sent == ["gpu"]

    def test_gives_up_in_words_after_too_many_crashes(self, make_work: MakeWork, settings: Any) -> None:
        settings.MAX_CRASHES = 3
        work = make_work()
        for crash in range(1, 5):
            assert leases.claim(work, "host:1") is not None
            let_expire(work)
            leases.reconcile()
            assert read(work).crashes == crash
        now = read(work)
        assert (now.state, now.cause_code) == ("failed", "crashed")
        assert "started 4 times" in now.cause

    def test_cancels_what_was_to_be_cancelled_when_its_owner_died(self, claimed: ModelImport) -> None:
        leases.request_cancel(claimed)
        let_expire(claimed)
        leases.reconcile()
        assert read(claimed).state == "cancelled"

    def test_cancels_what_went_back_to_the_queue_meanwhile(self, claimed: ModelImport) -> None:
        leases.request_cancel(claimed)
        leases.requeue(claimed)
        leases.reconcile()
        assert read(claimed).state == "cancelled"

    def test_calls_again_for_what_waits_too_long(self, make_work: MakeWork, sent: list[str]) -> None:
        work = make_work()
        ModelImport.objects.filter(pk=work.pk).update(hinted_at=Now() - timedelta(seconds=29))
        leases.reconcile()
        assert sent == []
        ModelImport.objects.filter(pk=work.pk).update(hinted_at=Now() - timedelta(seconds=31))
        leases.reconcile()
        leases.reconcile()
        assert sent == ["gpu"]

    def test_first_round_of_a_worker_calls_for_everything(self, make_work: MakeWork, sent: list[str]) -> None:
        ModelImport.objects.filter(pk=make_work().pk).update(hinted_at=Now())
        leases.reconcile(resend_after=timedelta(0))
        assert sent == ["gpu"]


def test_crash_reported_by_the_owner_counts_and_requeues(claimed: ModelImport) -> None:
    leases.count_crash(claimed, "The program was ended by signal SIGKILL.")
    now = read(claimed)
    assert (now.state, now.crashes) == ("queued", 1)
    assert "SIGKILL" in now.message


def test_every_kind_of_work_has_a_handler_and_a_folder() -> None:
    for room in ("annotate", "models_registry", "training"):
        import_module(f"{room}.tasks")
    models = leases.list_work_models()
    assert set(leases.HANDLERS) == set(models)
    assert len({model.folder_name for model in models}) == len(models) == 9
    assert {model.queue for model in models} == {"short", "gpu"}


@pytest.mark.django_db(transaction=True)
def test_lease_is_kept_alive_from_a_thread(claimed: ModelImport, fast: None) -> None:
    with leases.keep_alive(claimed) as still_mine:
        let_expire(claimed)
        for _try in range(100):
            if read(claimed).lease_until > timezone.now():  # type: ignore[operator]
                break
            time.sleep(0.05)
        else:
            pytest.fail("the lease was not renewed")
        still_mine()
        leases.request_cancel(claimed)
        with pytest.raises(leases.WorkCancelled):
            still_mine()
        leases.requeue(claimed)
        with pytest.raises(leases.LeaseLost):
            still_mine()
