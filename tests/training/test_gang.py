"""How the workers of one run come together, and what becomes of it when they do not stay: the rules, without programs.

What they train together is tested in test_several_machines.py.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from annotate.models import DatasetVersion, SamplingJob
from models_registry import leases, network, slots
from models_registry.leases import WorkCancelled, WorkCrashed, WorkFailed, WorkGivenBack
from models_registry.machines import GB, Gpu, Machine
from models_registry.models import ModelVersion
from models_registry.supervisor import Supervisor
from models_registry.workers import beat, sign_off
from tests.scenery import make_run
from training import gang, placement, services
from training.accelerate_config import Meeting, describe_launch, write_yaml
from training.gang import Gang, gathered
from training.models import Layout, Run, RunShare
from training.placing import Placement, PlacementForm
from training.workers import list_free

MakeRun = Callable[..., Run]
ONE, TWO = "one@a", "two@b"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> None:
    """Handlers as in a worker, which waits for nobody."""
    for room in ("annotate", "models_registry", "training"):
        import_module(f"{room}.tasks")
    settings.HEARTBEAT_SECONDS = 0.01
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(gang, "SETTLE_S", 0.0)
    monkeypatch.setattr(gang, "BROKEN_S", -1.0)


@pytest.fixture
def make_waiting(dataset: DatasetVersion, base: ModelVersion) -> MakeRun:
    """make_waiting(minutes=90): a run of two machines, queued so long ago."""

    def make_waiting(minutes: float = 0, **fields: Any) -> Run:
        values: dict[str, Any] = {"hosts": 2, "queued_at": timezone.now() - timedelta(minutes=minutes)}
        return make_run(dataset, base, **(values | fields))

    return make_waiting


@pytest.fixture
def two(db: None) -> None:
    """Two workers with devices of their own."""
    beat(ONE, ["gpu"], Machine(place="a"))
    beat(TWO, ["gpu"], Machine(place="b"))


def begin(run: Run, worker: str = ONE) -> Run:
    work = leases.claim(run, f"{worker}:7")
    assert work is not None
    return work


def join(run: Run, worker: str = TWO, rank: int = 1) -> RunShare:
    share = leases.claim(RunShare.objects.get(run=run, run_epoch=run.epoch, rank=rank), f"{worker}:7")
    assert share is not None
    return share


def list_claimable() -> list[Any]:
    return leases.list_claimable("gpu", Machine())


def test_it_starts_where_as_many_are_free_at_once(make_waiting: MakeRun, two: None) -> None:
    run = make_waiting()
    assert list_claimable() == [run]
    other = make_waiting(state="running", hosts=1, owner=f"{TWO}:9")
    assert list_claimable() == []  # the second has other work
    Run.objects.filter(pk=other.pk).update(state="paused")
    sampling = SamplingJob.objects.create(
        project=run.dataset_version.project,
        model_a=run.base_model,
        model_b=run.base_model,
        created_by=run.created_by,
        state="running",
        owner=f"{TWO}:9",
    )
    assert list_claimable() == []  # on the same devices, though it is none of training
    sampling.delete()
    Run.objects.filter(pk=run.pk).update(queued_at=timezone.now() - 2 * gang.HOLD_AFTER)
    assert list_claimable() == [run]  # it has waited so long that the first is held for it
    sign_off(TWO)
    assert list_claimable() == []  # whom should it wait for?
    beat(TWO, ["gpu"], Machine(place="a"))
    assert list_claimable() == []  # both work on the same device
    assert "2 workers, each with devices of its own (1 up)" in placement.explain_wait(run.ask, run.hosts)


def test_who_needs_a_label_counts_only_those_that_have_it(make_waiting: MakeRun, two: None) -> None:
    run = make_waiting(label="eu", gpus=1)
    machine = Machine(gpus=(Gpu("card", 80 * GB),), labels=("eu",), place="a")
    beat(ONE, ["gpu"], machine)
    assert leases.list_claimable("gpu", machine) == []
    words = placement.explain_wait(run.ask, run.hosts)
    assert "2 workers with 1 GPU, the label eu" in words and "(1 up)" in words
    beat(TWO, ["gpu"], Machine(gpus=(Gpu("card", 80 * GB),), labels=("eu",), place="b"))
    assert leases.list_claimable("gpu", machine) == [run]


def test_one_run_gathers_at_a_time_and_its_parts_go_before_all_else(make_waiting: MakeRun, two: None) -> None:
    first, second, urgent = make_waiting(), make_waiting(minutes=300), make_waiting(hosts=1, priority=3)
    work = begin(first)
    assert list_claimable() == [urgent]  # the second would wait for the first one's workers
    Gang(work).call()
    share = RunShare.objects.get()
    assert list_claimable() == [share, urgent]
    RunShare.objects.update(state="running", port=4711)  # they have met
    beat("three@c", ["gpu"], Machine(place="c"))
    beat("four@d", ["gpu"], Machine(place="d"))
    Run.objects.filter(pk=urgent.pk).delete()
    assert list_claimable() == [second]


def test_a_part_asks_for_what_its_run_asks_for_and_a_dead_one_for_nothing(make_waiting: MakeRun, two: None) -> None:
    work = begin(make_waiting(gpus=1))
    Gang(work).call()
    assert list_claimable() == []
    assert len(leases.list_claimable("gpu", Machine(gpus=(Gpu("card", GB),)))) == 1
    leases.requeue(work)
    assert list_claimable() == [RunShare.objects.get()]  # anybody may strike it off


def test_workers_that_come_in_meet_at_the_first_one(make_waiting: MakeRun, two: None) -> None:
    work = begin(make_waiting())
    with gathered(work) as workers:
        share = join(work)
        RunShare.objects.update(ready_at=timezone.now())
        meeting = workers.meet()
        workers.check()
    share.refresh_from_db()
    assert (meeting.address, meeting.rank) == ("127.0.0.1", 0)
    assert (share.address, share.port) == (meeting.address, meeting.port) and share.port > 0
    assert not share.cancel_requested  # it ends when its program does


def test_who_joins_in_the_very_moment_of_the_look_is_not_taken_for_one_that_went_elsewhere(
    make_waiting: MakeRun, two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = begin(make_waiting())

    def join_first(workers: Any) -> Any:
        if RunShare.objects.filter(state="queued").exists():
            RunShare.objects.filter(pk=join(work).pk).update(ready_at=timezone.now())
        return list_free(workers)

    monkeypatch.setattr(gang, "list_free", join_first)
    with gathered(work) as workers:
        assert workers.meet().port


def test_devices_are_given_back_when_the_others_have_gone_elsewhere(make_waiting: MakeRun, two: None) -> None:
    work = begin(make_waiting())
    make_waiting(state="running", hosts=1, owner=f"{TWO}:9")
    with pytest.raises(WorkGivenBack, match="Not enough workers"), gathered(work) as workers:
        workers.meet()
    assert RunShare.objects.get().state == "cancelled"


def test_a_run_that_has_waited_long_holds_its_device(
    make_waiting: MakeRun, two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = begin(make_waiting(minutes=90))
    busy = make_waiting(state="running", hosts=1, owner=f"{TWO}:9")

    def let_go(seconds: float) -> None:
        if busy.state == "running":
            busy.state = "finished"
            busy.save()
            share = join(work)
            RunShare.objects.filter(pk=share.pk).update(ready_at=timezone.now())

    monkeypatch.setattr("models_registry.supervisor.time.sleep", let_go)
    with gathered(work) as workers:
        assert workers.meet().port
    work.refresh_from_db()
    assert work.message == "Waiting for other workers: 1 of 2 are here"


def test_a_worker_whose_part_is_over_is_free_however_long_its_lease_still_lasts(
    make_waiting: MakeRun, two: None
) -> None:
    """It was lost and came again, while the row that it left behind waits for the reconciler."""
    work = begin(make_waiting())
    Gang(work).call()
    join(work)
    assert list_claimable() == []
    leases.requeue(work)
    assert [run.pk for run in list_claimable()] == [work.pk]


def test_of_two_that_gather_the_later_one_yields(make_waiting: MakeRun, two: None) -> None:
    early, late = begin(make_waiting(minutes=90)), begin(make_waiting(minutes=80), TWO)
    with gathered(early), pytest.raises(WorkGivenBack, match="goes first"), gathered(late) as workers:
        workers.meet()


def test_workers_that_are_free_and_do_not_come_are_not_waited_for_ever(
    make_waiting: MakeRun, two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gang, "JOIN_S", 0.05)
    work = begin(make_waiting())
    with pytest.raises(WorkCrashed, match="did not join"), gathered(work) as workers:
        workers.meet()


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (lambda share: leases.fail(share, gang.LEFT, "The worker was shut down; waiting for another."), WorkGivenBack),
        (lambda share: leases.fail(share, "out_of_memory", "Too large."), WorkFailed),
        (lambda share: leases.fail(share, gang.PEER_LOST, "The program ended."), WorkCrashed),
        (leases.requeue, WorkCrashed),  # its worker was lost
    ],
)
def test_what_happened_to_one_decides_for_all(
    make_waiting: MakeRun, two: None, end: Callable[[RunShare], None], expected: type[Exception]
) -> None:
    """The first worker's own program knows only that it was left alone."""
    work = begin(make_waiting())
    with pytest.raises(expected) as raised, gathered(work) as workers:
        end(join(work))
        with pytest.raises(WorkCrashed):
            workers.check()
            workers.check()
        with workers.explained():
            raise WorkFailed(gang.PEER_LOST, "Another process of the run was lost.")
    assert type(raised.value) is expected
    if isinstance(raised.value, WorkFailed):
        assert (raised.value.code, str(raised.value)) == ("out_of_memory", "Too large.")


def test_an_outage_of_the_database_in_the_moment_of_the_end_is_no_crash(
    make_waiting: MakeRun, two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = begin(make_waiting())

    def refuse(*_arguments: Any) -> None:
        raise OperationalError("away")

    with pytest.raises(leases.DatabaseLost), gathered(work) as workers:
        join(work)
        monkeypatch.setattr(gang, "dismiss", refuse)
        monkeypatch.setattr(Gang, "_find_lost", refuse)
        with workers.explained():
            raise WorkCrashed("The program ended.")


def test_a_cause_of_its_own_stands(make_waiting: MakeRun, two: None) -> None:
    work = begin(make_waiting())
    with pytest.raises(WorkFailed, match="Lower the learning rate"), gathered(work) as workers, workers.explained():
        raise WorkFailed("nan_loss", "Lower the learning rate.")


def test_a_run_of_one_machine_that_loses_a_process_is_taken_up_again(make_waiting: MakeRun) -> None:
    """It has several GPUs, and one process was killed for want of memory."""
    work = begin(make_waiting(hosts=1, gpus=2))
    with pytest.raises(WorkCrashed), gathered(work) as workers, workers.explained():
        raise WorkFailed(gang.PEER_LOST, "Another process of the run was lost.")


@pytest.mark.parametrize("stale", ["the run went on without it", "another worker had it before"])
def test_a_part_that_nobody_waits_for_is_struck_off(
    make_waiting: MakeRun, two: None, stale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = begin(make_waiting())
    Gang(work).call()
    share = join(work)
    if stale.startswith("the run"):
        leases.requeue(work)
    else:
        leases.requeue(share)
        share = join(work)
    monkeypatch.setattr(services, "bring_inputs", None)  # nothing is fetched for it
    with pytest.raises(WorkCancelled):
        services.train_share(share, Supervisor(share, slots.Slot("")))


@pytest.mark.parametrize(
    ("raised", "status", "expected"),
    [
        (leases.WorkDrained(), "", gang.LEFT),
        (leases.DatabaseLost(), "", gang.LEFT),
        (WorkCrashed("The program ended."), "running", gang.PEER_LOST),
        (WorkFailed("disk_full", "Full."), "", "disk_full"),
        (WorkCrashed("It stopped."), "stopped", ""),
    ],
)
def test_a_part_is_never_given_to_another_worker(
    make_waiting: MakeRun, two: None, raised: Exception, status: str, expected: str
) -> None:
    """Whatever ends it; who stops because all were asked to is no failure."""
    work = begin(make_waiting())
    Gang(work).call()
    share = join(work)
    share.attempt_folder.mkdir(parents=True)
    (share.attempt_folder / "status.json").write_text(f'{{"state": "{status}"}}')
    with pytest.raises(WorkFailed if expected else WorkCancelled) as ended, gang.gone_with_it(share):
        raise raised
    assert getattr(ended.value, "code", "") == expected


def test_device_time_counts_every_machine(make_waiting: MakeRun) -> None:
    now = timezone.now()
    make_waiting(state="finished", gpus=4, started_at=now - timedelta(hours=1), finished_at=now)
    make_waiting(state="finished", gpus=0, started_at=now - timedelta(hours=1), finished_at=now)
    assert list(placement.measure_shares(now).values()) == pytest.approx([(2 * 4 + 2) * 3600])


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({"hosts": 0}, "hosts"),
        ({"hosts": 33}, "hosts"),
        ({"hosts": 2, "sharding": "shards"}, "sharding"),
        ({"hosts": 2, "gpus": 1, "sharding": "shards"}, ""),
    ],
)
def test_what_may_be_asked(asked: dict[str, Any], wrong: str) -> None:
    assert [name for name, _reason in Placement(**asked).list_errors()] == ([wrong] if wrong else [])


def test_what_was_asked_for_before_stands_open_in_the_form() -> None:
    """On the page that clones a run, say: what is not as usual must not be launched unseen."""
    assert not PlacementForm().is_unusual and not PlacementForm(initial={"hosts": "1"}).is_unusual
    assert PlacementForm(initial={"hosts": "2"}).is_unusual


def test_each_machine_has_its_own_configuration() -> None:
    layout = Layout(gpus=4, hosts=3, sharding="shards")
    first, last = (describe_launch(layout, Meeting("10.0.0.5", 29500, rank)) for rank in (0, 2))
    assert first | {"machine_rank": 2} == last == yaml.safe_load(write_yaml(last))
    assert (first["num_machines"], first["num_processes"], first["machine_rank"]) == (3, 12, 0)
    assert (first["main_process_ip"], first["main_process_port"]) == ("10.0.0.5", 29500)


def test_programs_find_the_way_to_each_other(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    said = services.describe_surroundings(Layout(hosts=2), Meeting("127.0.0.1", 4711))
    assert (said["GLOO_SOCKET_IFNAME"], said["CUDA_VISIBLE_DEVICES"]) == ("lo", "")
    assert "CUDA_VISIBLE_DEVICES" not in services.describe_surroundings(Layout(1, 2), Meeting("127.0.0.1", 4711))
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "ib0")
    assert "GLOO_SOCKET_IFNAME" not in services.describe_surroundings(Layout(hosts=2))
    settings.WORKER_ADDRESS = "gpu-1.internal"
    assert network.find_own_address("10.0.0.5") == "gpu-1.internal"
    assert network.find_interface("192.0.2.1") == ""


def test_it_is_asked_for_and_shown(
    dataset_version: DatasetVersion,
    base_model: ModelVersion,
    admin: User,
    api: Callable[[User], APIClient],
    client: Client,
) -> None:
    caller = api(admin)
    body = {"method": "dpo", "dataset_version": dataset_version.pk, "base_model": base_model.pk}
    wrong = caller.post("/api/v1/runs/", body | {"placement": {"hosts": 0}})
    assert wrong.status_code == 400 and "hosts" in wrong.json()["placement"]
    made = caller.post("/api/v1/runs/", body | {"placement": {"hosts": 2}}).json()
    assert made["hosts"] == 2
    estimate = caller.post("/api/v1/runs/estimate/", body | {"placement": {"hosts": 2}}).json()
    assert "num_machines: 2" in estimate["launcher"] and estimate["effective_batch"] % 2 == 0

    run = Run.objects.get(pk=made["id"])
    client.force_login(admin)
    beat("gpu-1@lab", ["gpu"], Machine(place="1"))
    assert "It waits for 2 workers" in caller.get(f"/api/v1/runs/{run.pk}/").json()["hindrance"]
    beat("gpu-2@lab", ["gpu"], Machine(place="2"))
    assert "2 workers are free at the same time" in client.get(f"/runs/{run.pk}/").content.decode()
    work = begin(run, "gpu-1@lab")
    Gang(work).call()
    share = join(work, "gpu-2@lab")
    leases.extend(share, message="Waiting for the other workers", log_tail="rank 1 says so")
    page = client.get(f"/runs/{run.pk}/").content.decode()
    for text in ("gpu-1@lab", "gpu-2@lab", "Waiting for the other workers", "num_machines: 2"):
        assert text in page, text
    machines = caller.get(f"/api/v1/runs/{run.pk}/").json()["machines"]
    assert [(machine["rank"], machine["worker"], machine["state"]) for machine in machines] == [
        (1, "gpu-2@lab", "running")
    ]
    assert client.get(f"/runs/{run.pk}/machines/1/log.txt").content == b"rank 1 says so"
    assert client.get(f"/runs/{run.pk}/machines/2/log.txt").status_code == 404
    assert "Training together" in client.get("/workers/").content.decode()
    copy = caller.post(f"/api/v1/runs/{run.pk}/clone/", {}).json()
    assert copy["hosts"] == 2
