"""What happens to runs. Each function waits for its moment, does its worst, and returns when its own part is over."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from celery import current_app
from django.conf import settings
from django.db import connection

from benchmarks.chaos.conductor import Conductor, Stuck
from benchmarks.chaos.house import Program
from benchmarks.chaos.servers import is_running, list_descendants
from benchmarks.chaos.traces import Event
from benchmarks.chaos.trial import SAVE_EVERY, STEPS
from models_registry.hints import TASK_NAME
from training.models import Run

Fault = Callable[[Conductor, Run, random.Random], None]

HINTS = 100
THAW_AT_MOST_S = 60.0


# -- Killed and frozen: one run at a time -----------------------------------------------------------------------------


def kill_worker(conductor: Conductor, run: Run, draw: random.Random) -> None:
    """kill -9 of the worker's main process: its pool and the trainer go with it."""
    if there := _wait_for_moment(conductor, run, draw):
        _kill(conductor, run, "worker killed", there, there.worker.pid)


def kill_supervisor(conductor: Conductor, run: Run, draw: random.Random) -> None:
    """kill -9 of the pool process that watches over the trainer; the worker itself lives."""
    if there := _wait_for_moment(conductor, run, draw):
        _kill(conductor, run, "supervisor killed", there, there.supervisor)


def kill_trainer(conductor: Conductor, run: Run, draw: random.Random) -> None:
    """kill -9 of the process that trains, as the kernel does where memory runs out."""
    if there := _wait_for_moment(conductor, run, draw):
        _kill(conductor, run, "trainer killed", there, there.trainer)


def freeze_supervisor(conductor: Conductor, run: Run, draw: random.Random) -> None:
    """SIGSTOP of the pool process until another attempt trains."""
    if there := _wait_for_training(conductor, run, draw):
        _freeze(conductor, run, "supervisor stopped past the lease", there, [there.supervisor])


def freeze_machine(conductor: Conductor, run: Run, draw: random.Random) -> None:
    """SIGSTOP of worker, pool process and trainer at once, as where a virtual machine is paused."""
    if there := _wait_for_training(conductor, run, draw):
        pids = [there.worker.pid, there.supervisor, there.trainer]
        _freeze(conductor, run, "worker and trainer stopped past the lease", there, pids)


def freeze_trainer(conductor: Conductor, run: Run, draw: random.Random) -> None:
    """SIGSTOP of the trainer alone for longer than the lease: its supervisor lives, so it goes on where it stood."""
    if there := _wait_for_training(conductor, run, draw):
        _signal([there.trainer], signal.SIGSTOP)
        time.sleep(settings.LEASE_SECONDS + 2)
        conductor.mark(run, "trainer stopped, its supervisor alive", time.monotonic(), there.epoch)
        _signal([there.trainer], signal.SIGCONT)


# -- Disk -------------------------------------------------------------------------------------------------------------


def truncate_checkpoint(conductor: Conductor, run: Run, draw: random.Random) -> None:
    """A file of the newest checkpoint is cut and the trainer killed; in one of four cases all checkpoints are cut."""
    step = draw.randrange(2 * SAVE_EVERY + 1, STEPS - 1)
    if not (there := _find(conductor, run, conductor.wait_for_step(run, step))):
        return
    _signal([there.trainer], signal.SIGSTOP)  # else it might save one more while we cut
    checkpoints = sorted(run.folder.glob("attempt-*/checkpoints/step-*"), key=lambda path: path.name)
    everything = draw.random() < 0.25
    for checkpoint in checkpoints if everything else checkpoints[-1:]:
        victim = draw.choice(sorted(checkpoint.iterdir()))
        os.truncate(victim, draw.randrange(victim.stat().st_size))
    name = "all checkpoints truncated" if everything else "newest checkpoint truncated"
    mark = conductor.mark(run, f"{name}, trainer killed", time.monotonic(), there.epoch)
    _signal([there.trainer], signal.SIGKILL)
    ended = conductor.wait_for_end(run)
    mark.seen["reported"] = any("is damaged" in note for note in ended.result.get("notes", []))


def fill_disk(conductor: Conductor, run: Run, draw: random.Random) -> None:
    """The disk has room for one checkpoint and not for two more, as each save asks; then a person makes room."""
    conductor.wait_for(lambda: conductor.trace(run), f"the launch of run {run.pk}")
    folder = run.folder / "attempt-1" / "checkpoints"
    folder.mkdir(exist_ok=True)
    size = int(8 * (conductor.base.folder / "model.safetensors").stat().st_size)  # weights and two moments: three
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "chaos", str(folder)], check=True)  # noqa: S607
    try:
        paused = conductor.wait_for_end(run)
        if paused.cause_code != "disk_full":
            raise Stuck(f"run {run.pk} on a full disk: {paused.state} {paused.cause_code} {paused.cause}")
        subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True)  # noqa: S607
        whole = [path.name for path in folder.glob("step-*")]
        conductor.mark(run, "disk filled during a checkpoint", time.monotonic(), paused.epoch, kept=whole)
        conductor.wait_for(lambda: conductor.post(f"/api/v1/runs/{run.pk}/resume/") == 202, "the resume")
        conductor.wait_for_end(run)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S607


# -- Messages ---------------------------------------------------------------------------------------------------------


def double_hints(conductor: Conductor, run: Run, draw: random.Random) -> None:
    """A hundred wake-up messages more than needed, while the run is at work."""
    if there := _wait_for_moment(conductor, run, draw):
        _send_hints([0.0] * HINTS)
        conductor.mark(run, "a hundred doubled messages", time.monotonic(), there.epoch)


def delay_hints(conductor: Conductor, run: Run, draw: random.Random) -> None:
    """Messages that reach a worker late: in the middle of the run, at its end, after it."""
    conductor.mark(run, "late messages", time.monotonic(), 0)
    _send_hints([draw.uniform(1, 30) for _hint in range(20)])


# -- By people --------------------------------------------------------------------------------------------------------


def cancel(conductor: Conductor, run: Run, draw: random.Random) -> None:
    """A person cancels; measured until the device is free. Then the run is taken up again."""
    if not (there := _wait_for_training(conductor, run, draw)):
        return
    began = time.monotonic()
    if conductor.post(f"/api/v1/runs/{run.pk}/cancel/") != 202:
        return  # it was over
    device = there.worker.env["CUDA_VISIBLE_DEVICES"]
    conductor.wait_for(lambda: _is_free(device) and not is_running(there.trainer), "the device", 60)
    freed = time.monotonic() - began
    ended = conductor.wait_for_end(run)
    if ended.state == "cancelled":
        conductor.mark(run, "cancelled, then taken up again", time.monotonic(), ended.epoch, freed_s=freed)
        conductor.wait_for(lambda: conductor.post(f"/api/v1/runs/{run.pk}/retry/") == 202, "the retry")


def drain(conductor: Conductor, run: Run, draw: random.Random) -> None:
    """SIGTERM to the worker, as a deploy does; measured until it has left."""
    if there := _wait_for_training(conductor, run, draw):
        process, began = there.worker.process, time.monotonic()
        mark = conductor.mark(run, "worker drained", began, there.epoch)
        os.kill(there.worker.pid, signal.SIGTERM)
        conductor.wait_for(lambda: process is None or process.poll() is not None, "the worker's end")
        mark.seen["left_s"] = time.monotonic() - began


# -- To the whole house -----------------------------------------------------------------------------------------------


def kill_web(conductor: Conductor, runs: list[Run], draw: random.Random, meanwhile: Callable[[], Run]) -> None:
    """kill -9 of the web server while a run is launched."""
    launching = threading.Thread(target=meanwhile, daemon=True)
    launching.start()
    time.sleep(draw.uniform(0, 0.05))
    at = time.monotonic()
    _signal([conductor.house.web.pid, *list_descendants(conductor.house.web.pid)], signal.SIGKILL)
    conductor.wait_for(lambda: conductor.answers("/readyz"), "the web server")
    back = time.monotonic() - at
    launching.join()
    for run in runs:
        conductor.mark(run, "web server killed", at, conductor.look(run).epoch, back_s=back)


def kill_broker(conductor: Conductor, runs: list[Run], draw: random.Random, meanwhile: Callable[[], Run]) -> None:
    """kill -9 of the broker; a run is launched while it is gone. Of the broker of files all messages are lost."""
    epochs = {run.pk: conductor.look(run).epoch for run in runs}
    at = time.monotonic()
    server = conductor.servers.get("broker")
    if server:
        server.kill()
    launched = meanwhile()
    time.sleep(draw.uniform(1, 5))
    if server:
        server.start()
    else:
        messages = Path(settings.DATA_DIR) / "broker" / "messages"
        for path in messages.glob("*.msg"):
            path.unlink(missing_ok=True)
        (messages / f"{time.time_ns():020d}-empty.gpu.msg").touch()
        (messages / f"{time.time_ns():020d}-cut.gpu.msg").write_text('{"body": "W', encoding="utf-8")
    for run in runs:
        conductor.mark(run, "broker killed", at, epochs[run.pk])
    conductor.mark(launched, "launched while the broker was gone", time.monotonic(), 0)


def lose_database(conductor: Conductor, runs: list[Run], draw: random.Random, meanwhile: Callable[[], Run]) -> None:
    """kill -9 of the database for a moment; of SQLite the right to write is held by another program."""
    _take_database(conductor, runs, draw.uniform(1, 3), "database gone for a moment")
    meanwhile()


def miss_database(conductor: Conductor, runs: list[Run], draw: random.Random, meanwhile: Callable[[], Run]) -> None:
    """The database is gone for longer than a lease."""
    _take_database(conductor, runs, settings.LEASE_SECONDS + draw.uniform(2, 5), "database gone past the lease")
    meanwhile()


def _take_database(conductor: Conductor, runs: list[Run], seconds: float, name: str) -> None:
    epochs = {run.pk: conductor.look(run).epoch for run in runs}
    if server := conductor.servers.get("database"):
        server.kill()
        time.sleep(seconds)
        server.start()
    else:
        holder = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None, timeout=60)
        holder.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        holder.execute("ROLLBACK")
        holder.close()
    for run in runs:
        conductor.mark(run, name, time.monotonic(), epochs[run.pk])


# -- How it is done ---------------------------------------------------------------------------------------------------


class There:
    """Who is at work on a run: its worker, the pool process that supervises, and the trainer."""

    def __init__(self, worker: Program, supervisor: int, epoch: int, trainer: int) -> None:
        self.worker, self.supervisor, self.epoch, self.trainer = worker, supervisor, epoch, trainer


def _wait_for_moment(conductor: Conductor, run: Run, draw: random.Random) -> There | None:
    """A moment anywhere in the newest attempt: mostly in its training, else while it starts or files its results."""
    when = draw.random()
    if when < 0.15:
        newest = _wait_for_launch(conductor, run)
        time.sleep(draw.uniform(0, 4))
    elif when < 0.3:
        newest = conductor.wait_for_step(run, STEPS)
        time.sleep(draw.uniform(0, 1.5))
    else:
        return _wait_for_training(conductor, run, draw)
    return _find(conductor, run, newest)


def _wait_for_training(conductor: Conductor, run: Run, draw: random.Random) -> There | None:
    newest = conductor.wait_for_step(run, draw.randrange(1, STEPS - 2))
    time.sleep(draw.uniform(0, 0.15))
    return _find(conductor, run, newest)


def _wait_for_launch(conductor: Conductor, run: Run) -> list[Event]:
    conductor.wait_for(lambda: conductor.trace(run), f"the launch of run {run.pk}")
    trace = conductor.trace(run)
    return [event for event in trace if event.epoch == trace[-1].epoch]


def _find(conductor: Conductor, run: Run, newest: list[Event]) -> There | None:
    """None where the run is over, or was just given back."""
    now = conductor.look(run)
    if now.state != "running" or not newest or newest[0].epoch != now.epoch:
        return None
    supervisor = int(now.owner.rpartition(":")[2])
    worker = conductor.house.find_worker(supervisor)
    trainer = newest[0].pid
    return There(worker, supervisor, now.epoch, trainer) if worker and is_running(trainer) else None


def _kill(conductor: Conductor, run: Run, name: str, there: There, pid: int) -> None:
    if is_running(pid):
        _signal([pid], signal.SIGKILL)
        conductor.mark(run, name, time.monotonic(), there.epoch)


def _freeze(conductor: Conductor, run: Run, name: str, there: There, pids: list[int]) -> None:
    mark = conductor.mark(run, name, time.monotonic(), there.epoch)
    _signal(pids, signal.SIGSTOP)
    deadline = time.monotonic() + THAW_AT_MOST_S

    def goes_on() -> bool:
        stepped = any(event.epoch > there.epoch and event.what == "step" for event in conductor.trace(run))
        return stepped or conductor.look(run).is_over or time.monotonic() > deadline

    conductor.wait_for(goes_on, "another attempt")
    mark.seen["thawed_s"] = time.monotonic() - mark.at
    _signal(pids, signal.SIGCONT)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _is_free(device: str) -> bool:
    (path,) = (Path(settings.DATA_DIR) / "locks").glob(f"*-device-{device}.lock")
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _send_hints(delays: list[float]) -> None:
    """Straight to the broker, past the rule that enough of them wait already."""
    with current_app.connection_for_write() as broker:
        for delay in delays:
            current_app.send_task(TASK_NAME, args=["gpu"], queue="gpu", connection=broker, countdown=delay or None)


ON_RUNS: dict[str, tuple[Fault, int]] = {
    "kill_worker": (kill_worker, 6),
    "kill_supervisor": (kill_supervisor, 3),
    "kill_trainer": (kill_trainer, 7),
    "freeze_supervisor": (freeze_supervisor, 3),
    "freeze_machine": (freeze_machine, 4),
    "freeze_trainer": (freeze_trainer, 1),
    "truncate_checkpoint": (truncate_checkpoint, 5),
    "fill_disk": (fill_disk, 3),
    "double_hints": (double_hints, 2),
    "delay_hints": (delay_hints, 2),
    "cancel": (cancel, 3),
    "drain": (drain, 3),
}
"""How many runs of each set-up, out of programme.FULL."""
FREEZES: list[Fault] = [freeze_supervisor, freeze_machine, freeze_trainer]
KILLS: list[Fault] = [kill_worker, kill_supervisor, kill_trainer, freeze_machine]

HouseFault = Callable[[Conductor, list[Run], random.Random, Callable[[], Run]], None]
ON_HOUSES: list[HouseFault] = [kill_web, kill_broker, lose_database, miss_database]
