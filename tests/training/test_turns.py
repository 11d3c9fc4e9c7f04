"""Which run a worker takes next: never one it cannot hold, priority first, fair between projects, nobody for ever."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as property_settings
from hypothesis import strategies as st

from annotate.models import DatasetVersion, Project
from models_registry import leases
from models_registry.machines import GB, Ask, Gpu, Machine
from models_registry.models import ModelVersion
from models_registry.turns import AGE_STEP, URGENT, make_turn
from models_registry.workers import beat
from tests.scenery import make_dataset, make_run
from training import placement
from training.models import Run

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.get_default_timezone())
SIZES = [8, 16, 24, 40, 80]
LABELS = ["", "a100", "eu"]

machines = st.builds(
    lambda sizes, labels: Machine(gpus=tuple(Gpu("card", size * GB) for size in sizes), labels=tuple(labels)),
    st.lists(st.sampled_from(SIZES), max_size=4),
    st.sets(st.sampled_from(LABELS[1:])),
)
asks = st.builds(Ask, st.integers(0, 4), st.sampled_from([0, *SIZES]), st.sampled_from(LABELS))

MakeRun = Callable[..., Run]


@pytest.fixture
def make_waiting(dataset: DatasetVersion, base: ModelVersion) -> MakeRun:
    """make_waiting(hours=2, priority=3, project=other): queued so many hours ago."""
    datasets = {dataset.project_id: dataset}

    def make_waiting(hours: float = 0, project: Project | None = None, **fields: Any) -> Run:
        project = project or dataset.project
        if project.pk not in datasets:
            datasets[project.pk] = make_dataset(project)
        since = timezone.now() - timedelta(hours=hours)
        return make_run(datasets[project.pk], base, **{"queued_at": since, **fields})

    return make_waiting


@pytest.fixture
def other(admin: User) -> Project:
    return Project.objects.create(name="Other", slug="other", created_by=admin)


def list_order(machine: Machine = Machine()) -> list[Run]:  # noqa: B008
    return [run for _turn, run in sorted(placement.list_waiting(machine), key=lambda row: row[0])]  # type: ignore[misc]


@property_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(machine=machines, wanted=st.lists(asks, max_size=6))
def test_only_what_the_machine_holds_is_handed_out(make_waiting: MakeRun, machine: Machine, wanted: list[Ask]) -> None:
    """And if there is any such run, one is: the query says the same as Machine.meets."""
    Run.objects.all().delete()
    for ask in wanted:
        make_waiting(**vars(ask))
    order = list_order(machine)
    assert all(machine.meets(run.ask) for run in order)
    assert bool(order) == any(machine.meets(ask) for ask in wanted)


@given(
    mine=st.tuples(st.integers(0, 3), st.integers(0, 10**6)),
    others=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**6), st.floats(0, 1e9)), max_size=20),
    looked=st.integers(0, 10**6),
)
def test_nothing_that_comes_four_steps_later_goes_first(
    mine: tuple[int, int], others: list[tuple[int, int, float]], looked: int
) -> None:
    """However urgent and however little its project had: so only what came before then can, and each of those once."""
    priority, came = mine
    now = NOW + timedelta(seconds=came + looked)
    own = make_turn(priority, NOW + timedelta(seconds=came), now, share=1e12)
    for level, later, share in others:
        since = NOW + timedelta(seconds=came) + (URGENT + 1) * AGE_STEP + timedelta(seconds=later)
        if since <= now:
            assert own < make_turn(level, since, now, share=share)


@given(
    seconds=st.lists(st.lists(st.integers(60, 1200), min_size=3, max_size=8), min_size=2, max_size=5),
    devices=st.integers(1, 3),
)
def test_projects_that_always_wait_get_alike(seconds: list[list[int]], devices: int) -> None:
    """Their device time differs by one run at most, and by what the runs under way count more than they have had."""
    attempts: list[tuple[int, int, datetime, datetime | None]] = []
    free_at = [NOW] * devices
    for claim in range(40):
        now = min(free_at)
        known = [(*attempt[:3], attempt[3] if attempt[3] and attempt[3] <= now else None) for attempt in attempts]
        shares = placement.sum_shares(known, now)
        turns = {
            make_turn(1, NOW, now, share=shares.get(project, 0.0), number=project) for project in range(len(seconds))
        }
        chosen = min(turns).number
        end = now + timedelta(seconds=seconds[chosen][claim % len(seconds[chosen])])
        attempts.append((chosen, 1, now, end))
        free_at[free_at.index(now)] = end
    used = dict.fromkeys(range(len(seconds)), 0.0)
    for project, _devices, begun, ended in attempts:
        used[project] += (ended - begun).total_seconds() if ended else 0.0
    bound = max(map(max, seconds)) + (devices - 1) * placement.LEAST_CHARGE_S
    assert max(used.values()) - min(used.values()) <= bound


def test_priority_then_share_then_age(make_waiting: MakeRun, other: Project) -> None:
    make_waiting(hours=-1, state="running", gpus=2, queued_at=timezone.now())
    old, new = make_waiting(hours=3), make_waiting(hours=2, project=other)
    urgent = make_waiting(priority=3)
    assert list_order() == [urgent, new, old]  # the project of old has a run already
    waits_long = make_waiting(hours=9, project=other, priority=0)  # low, raised twice
    assert list_order() == [urgent, waits_long, new, old]


def test_device_time_of_a_day_counts(make_waiting: MakeRun, other: Project) -> None:
    now = timezone.now()
    make_waiting(
        state="finished", gpus=4, started_at=now - timedelta(hours=30), finished_at=now - timedelta(hours=22)
    )  # two hours within the day
    make_waiting(state="failed", started_at=now - timedelta(hours=30), finished_at=now - timedelta(hours=25))
    make_waiting(state="running", project=other, started_at=now - timedelta(minutes=1))
    shares = placement.measure_shares(now)
    assert [shares[pk] for pk in sorted(shares)] == pytest.approx([4 * 2 * 3600, placement.LEAST_CHARGE_S])


def test_worker_takes_another_where_the_first_is_not_for_it(
    make_waiting: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import tasks  # noqa: F401 -- registers the handler

    make_waiting(hours=5, gpus=2, priority=3)
    plain = make_waiting(hours=1)
    assert [work.pk for work in leases.list_claimable("gpu", Machine())] == [plain.pk]
    both = leases.list_claimable("gpu", Machine(gpus=(Gpu("card", GB),) * 2))
    assert len(both) == 2 and both[1] == plain


def test_why_a_run_waits(db: None) -> None:
    ask = Ask(gpus=2, gpu_memory_gb=40, label="eu")
    assert placement.explain_wait(ask) == "No worker for training is up."
    beat("cpu@here", ["gpu"])
    beat("short@here", ["short"], Machine(gpus=(Gpu("card", 80 * GB),) * 8, labels=("eu",)))
    assert placement.explain_wait(Ask()) == ""
    assert placement.explain_wait(ask) == (
        "It waits for a worker with 2 GPUs of at least 40 GB, the label eu, and none is up. "
        "Those that are up have at most: 0 GPUs, no label."
    )
    beat("big@there", ["gpu"], Machine(gpus=(Gpu("card", 80 * GB),), labels=("us",)))
    assert "have at most: 1 GPU of up to 80 GB, labels us." in placement.explain_wait(ask)
    beat("right@there", ["gpu"], Machine(gpus=(Gpu("card", 40 * GB),) * 2, labels=("eu",)))
    assert placement.explain_wait(ask) == ""
    beat("right@there", ["gpu"], Machine(gpus=(Gpu("card", 40 * GB),) * 2, labels=("eu",)), is_leaving=True)
    assert placement.explain_wait(ask) != ""


def test_a_claim_reads_one_row_of_each_project_and_priority(
    make_waiting: MakeRun, django_assert_num_queries: Any
) -> None:
    first = make_waiting(hours=1)
    Run.objects.bulk_create(
        [
            Run(
                name=f"run {number}",
                method="dpo",
                base_model=first.base_model,
                dataset_version=first.dataset_version,
                config={},
                created_by=first.created_by,
                priority=number % 2,
            )
            for number in range(300)
        ]
    )
    with django_assert_num_queries(3):  # those of several machines are looked at beforehand
        assert [run.priority for run in list_order()] == [1, 0]
