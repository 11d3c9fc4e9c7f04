"""Real workers, killed and frozen in the middle of work: it is always brought to its end, by one program at a time.

The worker is a real one on the test's own database and broker; only the program is a small one that counts steps.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models_registry import hints, leases
from models_registry.models import ModelImport
from models_registry.workers import list_workers
from tests.models_registry.conftest import MakeWork
from tests.real_workers import StartWorker, run_workers, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

STEPS = 40
"""At 0.05 s each."""


@pytest.fixture
def start_worker(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartWorker]:
    """start_worker(): a worker with one pool process whose programs only count."""
    monkeypatch.setenv("CHAOS_STEPS", str(STEPS))
    with run_workers(data_dir, monkeypatch, app="tests.models_registry.chaos_app") as start_worker:
        yield start_worker


@pytest.fixture
def work(make_work: MakeWork) -> ModelImport:
    work = make_work()
    leases.enqueue(work)
    return work


def read(work: ModelImport) -> ModelImport:
    return ModelImport.objects.get(pk=work.pk)


def read_trace(work: ModelImport) -> list[dict[str, Any]]:
    path = work.folder.parent / f"trace-{work.pk}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for_step(work: ModelImport, step: int, seconds: float = 30) -> int:
    """Waits until the program has done ``step``; gives its process number."""
    wait_until(lambda: any(line["step"] >= step for line in read_trace(work)), seconds)
    return int(read_trace(work)[-1]["pid"])


def wait_for_end(work: ModelImport, seconds: float = 40) -> ModelImport:
    wait_until(lambda: read(work).is_over, seconds)
    return read(work)


def check_counted_once(work: ModelImport) -> None:
    """Every step was done, and no attempt did a step after a later one had begun."""
    trace = read_trace(work)
    assert {line["step"] for line in trace} == set(range(1, STEPS + 1))
    attempts = [line["attempt"] for line in trace]
    assert attempts == sorted(attempts), "an attempt went on after it was replaced"


def find_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_killed_worker(work: ModelImport, start_worker: StartWorker) -> None:
    """kill -9 of the worker: its program goes with it, another worker goes on from the checkpoint."""
    worker = start_worker()
    program = wait_for_step(work, 12)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    wait_until(lambda: not Path(f"/proc/{program}").exists(), 5)
    start_worker()
    ended = wait_for_end(work)
    assert (ended.state, ended.epoch, ended.message) == ("finished", 2, f"{STEPS} steps")
    check_counted_once(work)
    resumed_at = next(line["step"] for line in read_trace(work) if line["attempt"] == "attempt-2")
    assert resumed_at > 10


def test_killed_program(work: ModelImport, start_worker: StartWorker) -> None:
    """kill -9 of the program (as the kernel does when memory runs out): taken up again at once, and counted."""
    start_worker()
    os.kill(wait_for_step(work, 12), signal.SIGKILL)
    wait_for_step(work, 20)
    wait_until(lambda: read(work).crashes == 0, 5)  # a new checkpoint was made: earlier crashes are forgiven
    ended = wait_for_end(work)
    assert (ended.state, ended.epoch) == ("finished", 2)
    check_counted_once(work)


def test_frozen_supervisor(work: ModelImport, start_worker: StartWorker) -> None:
    """SIGSTOP past the lease: the program leaves by itself, another worker goes on, the thawed one writes nothing."""
    frozen = start_worker()
    program = wait_for_step(work, 12)
    (pool_process,) = find_children(frozen.pid)
    os.kill(pool_process, signal.SIGSTOP)
    start_worker()
    wait_until(lambda: read(work).epoch == 2, 30)
    assert not Path(f"/proc/{program}").exists() or "Z" in Path(f"/proc/{program}/stat").read_text()
    os.kill(pool_process, signal.SIGCONT)
    ended = wait_for_end(work)
    assert (ended.state, ended.epoch) == ("finished", 2)
    check_counted_once(work)


def test_doubled_hints(work: ModelImport, start_worker: StartWorker) -> None:
    for _number in range(8):
        hints.send_hint("gpu")
    start_worker(pool="2")
    ended = wait_for_end(work)
    assert (ended.state, ended.epoch, len(read_trace(work))) == ("finished", 1, STEPS)


def test_cancel_frees_within_seconds(work: ModelImport, start_worker: StartWorker) -> None:
    start_worker()
    program = wait_for_step(work, 5)
    leases.request_cancel(work)
    ended = wait_for_end(work, 6)
    assert ended.state == "cancelled"
    wait_until(lambda: not Path(f"/proc/{program}").exists(), 2)


def test_drained_worker_gives_its_work_back(work: ModelImport, start_worker: StartWorker) -> None:
    """SIGTERM, as on a restart of the service: the program saves and leaves, the row waits for the next worker."""
    worker = start_worker()
    wait_for_step(work, 12)
    (seen,) = list_workers()
    assert (seen.name.partition("@")[0], seen.queues, seen.is_alive, seen.is_leaving) == (
        "worker0",
        ["gpu"],
        True,
        False,
    )
    worker.terminate()
    assert worker.wait(timeout=15) == 0
    assert list_workers() == []  # it signed off
    waiting = read(work)
    assert (waiting.state, waiting.crashes) == ("queued", 0)
    start_worker()
    ended = wait_for_end(work)
    assert (ended.state, ended.epoch) == ("finished", 2)
    check_counted_once(work)
    assert len(read_trace(work)) == STEPS  # not one step was done twice
