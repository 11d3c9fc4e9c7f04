"""Runs a program under a claimed row: keeps the lease, files what the program reports, ends it when it must end.

The program (see inference/program.py) works in the attempt's own folder. It lives only while the lease is held: the
supervisor renews the heartbeat file after each renewed lease, the program leaves when that file stands still, and the
kernel kills it when the supervisor dies. What a person sees as progress is copied from files, never asked for.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction

from models_registry import leases
from models_registry.draining import is_draining
from models_registry.inference.program import EXIT_DISK_FULL
from models_registry.leases import DatabaseLost, WorkCancelled, WorkCrashed, WorkDrained, WorkFailed, WorkPaused
from models_registry.program_folder import ProgramFolder, Status
from models_registry.slots import Slot
from models_registry.usage import Meter, Usage, count_memory_kills
from models_registry.work import LeasedWork

log = logging.getLogger(__name__)

POLL_S = 0.5
REFRESH_S = 2.0
"""How old what the page shows may be."""

SILENT_SHARE, DEAD_SHARE = 75 / 120, 100 / 120
"""Of the lease: without a renewal for so long the program is asked to leave; then it is killed."""

CANCEL_GRACE_S, DRAIN_GRACE_S, TERM_GRACE_S = 30.0, 120.0, 5.0

DRAIN, PAUSE, LIMIT = "The worker is shutting down", "Paused", "A limit is reached"
AWAY = "The database does not answer"

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_PRIVATE = re.compile(
    r"SECRET|PASSWORD|PASSWD|CREDENTIAL|_TOKEN$|^TOKEN$|API_?KEY|DATABASE_URL|BROKER|REDIS|^EMAIL|^PG|^DJANGO_|^CELERY_"
    r"|^AWS_|^STORE_"
)


@dataclass(frozen=True)
class ProgramJob:
    """What to run: ``python <command> <folder>`` with ``config`` as config.json in the folder.

    ``write_inputs`` puts further files there. ``on_metrics`` gets new lines of metrics.jsonl inside the transaction
    that renews the lease. ``find_progress`` gives a number that grows when something lasting (a checkpoint) was made:
    from then on crashes count anew. ``on_usage`` gets what was used, in the same transaction; a (code, text) from it
    lets the program save and leave, and pauses the work with this cause. ``check`` is called every other second and
    ends the program at once by what it raises. ``online`` programs may use the network. ``env`` is what their
    environment has beyond the worker's.
    """

    command: list[str]
    config: dict[str, Any]
    write_inputs: Callable[[Path], None] = lambda _folder: None
    on_metrics: Callable[[list[dict[str, Any]]], None] = lambda _lines: None
    find_progress: Callable[[], int] = lambda: 0
    on_usage: Callable[[Usage], tuple[str, str] | None] = lambda _usage: None
    check: Callable[[], None] = lambda: None
    online: bool = False
    env: dict[str, str] = field(default_factory=dict)


class Supervisor:
    """One claimed row's programs, one after the other; ``run`` raises what leases.py names when one does not finish."""

    def __init__(self, work: LeasedWork, slot: Slot) -> None:
        self.work = work
        self._slot = slot
        self._stop_reason = ""
        self._leave_by = math.inf
        self._renewed_at = self._looked_at = self._logged_at = read_clock()
        self._shown: Status | None = None
        self._progress = 0
        self._meter: Meter | None = None
        self._blocked: tuple[str, str] | None = None

    def run(self, job: ProgramJob, folder: Path) -> dict[str, Any]:
        """Runs the program to its end and returns its result.json.

        Raises WorkFailed, WorkCancelled, WorkPaused, WorkDrained, WorkCrashed, DatabaseLost or LeaseLost.
        """
        files = ProgramFolder(folder)
        files.prepare(job.config)
        job.write_inputs(folder)
        self._wait_for_slot()
        self._progress = job.find_progress()
        process = start_program(job, files, slot=self._slot)
        self._slot.drop()  # the program holds it now
        self._meter = Meter(process.pid, self.work.folder, read_clock())
        memory_kills = count_memory_kills()
        try:
            while not has_ended(process):
                self._tick(process, files, job)
                wait_briefly(process)
        finally:
            kill_group(process)
        if self._is_cut_off():  # then the program left by itself
            self._stop_reason = self._stop_reason or AWAY
        self._insist_on_last_word(files, job)
        return self._judge_end(process, files, out_of_memory=count_memory_kills() > memory_kills)

    def _tick(self, process: subprocess.Popen[bytes], files: ProgramFolder, job: ProgramJob) -> None:
        if self._silence() > settings.LEASE_SECONDS * DEAD_SHARE:
            raise DatabaseLost
        try:
            if self._is_due(files):
                self._renew(files, job)
                job.check()
            elif read_clock() - self._looked_at > REFRESH_S:
                self._looked_at = read_clock()
                leases.look(self.work)
                job.check()
        except (DatabaseError, InterfaceError) as error:
            log.warning("%s %s: the database does not answer: %s", type(self.work).__name__, self.work.pk, error)
            connection.close()
        if is_draining():
            self._ask_to_stop(DRAIN, files, grace=DRAIN_GRACE_S)
        elif self.work.cancel_requested:
            self._ask_to_stop("Cancelled", files, grace=CANCEL_GRACE_S)
        elif self.work.pause_requested:
            self._ask_to_stop(PAUSE, files, grace=DRAIN_GRACE_S)
        elif self._blocked:
            self._ask_to_stop(LIMIT, files, grace=DRAIN_GRACE_S)
        elif self._is_cut_off():
            self._ask_to_stop(AWAY, files, grace=CANCEL_GRACE_S)
        self._press(process)
        files.trim_log()

    def _silence(self) -> float:
        return read_clock() - self._renewed_at

    def _is_cut_off(self) -> bool:
        return self._silence() > settings.LEASE_SECONDS * SILENT_SHARE

    def _is_due(self, files: ProgramFolder) -> bool:
        if self._silence() > settings.HEARTBEAT_SECONDS:
            return True
        refresh = min(REFRESH_S, settings.HEARTBEAT_SECONDS)
        return self._silence() > refresh and (files.read_status() != self._shown or files.has_news())

    def _renew(self, files: ProgramFolder, job: ProgramJob, *, last: bool = False) -> None:
        """One transaction: the lease, the progress and the metrics, all or nothing."""
        status, progress = files.read_status(), job.find_progress()
        metrics, offset = files.peek_metrics()
        values = _read_progress(status)
        if last or read_clock() - self._logged_at > settings.HEARTBEAT_SECONDS:
            values["log_tail"] = files.read_log_tail()
        if progress > self._progress:
            values["crashes"] = 0
        began = read_clock()
        usage = self._meter.read(began) if self._meter else None  # before others wait for us on SQLite
        with transaction.atomic():
            leases.extend(self.work, **values)
            if metrics:
                job.on_metrics(metrics)
            if usage:
                self._blocked = job.on_usage(usage) or self._blocked
        if self._meter:
            self._meter.accept(began)
        files.accept_metrics(offset)
        files.beat()
        self._shown, self._progress = status, max(progress, self._progress)
        self._renewed_at = self._looked_at = began  # the lease counts from some moment after this one
        if "log_tail" in values:
            self._logged_at = began

    def _insist_on_last_word(self, files: ProgramFolder, job: ProgramJob) -> None:
        """The work is done; a database that is just restarting must not make it undone."""
        while True:
            try:
                self._renew(files, job, last=True)
                while files.peek_metrics()[0]:
                    self._renew(files, job, last=True)
                return
            except (DatabaseError, InterfaceError) as error:
                connection.close()
                if self._silence() > settings.LEASE_SECONDS:
                    raise DatabaseLost from error
                time.sleep(POLL_S)

    def _ask_to_stop(self, reason: str, files: ProgramFolder, *, grace: float) -> None:
        if not self._stop_reason:
            self._stop_reason = reason
            files.ask_to_stop(reason)
        self._leave_by = min(self._leave_by, read_clock() + grace)  # who waits for a pause may yet cancel

    def _press(self, process: subprocess.Popen[bytes]) -> None:
        """What does not leave when asked is told by signals."""
        if not self._stop_reason:
            return
        late = read_clock() - self._leave_by
        if late > TERM_GRACE_S:
            kill_group(process)
        elif late > 0:
            signal_group(process, signal.SIGTERM)

    def _judge_end(
        self, process: subprocess.Popen[bytes], files: ProgramFolder, *, out_of_memory: bool
    ) -> dict[str, Any]:
        status, result = files.read_status(), files.read_result()
        if status.state == "finished" and result is not None:
            return result
        if status.state == "failed":
            raise WorkFailed(status.cause_code or "failed", status.cause_text or "The program gave no cause.")
        if process.returncode == EXIT_DISK_FULL:  # too full even to say so
            raise WorkFailed("disk_full", "The disk is full. Free some space, then resume the run.")
        if self._stop_reason == DRAIN:
            raise WorkDrained
        if self._stop_reason == AWAY:
            raise DatabaseLost
        if self.work.cancel_requested:
            raise WorkCancelled
        if self.work.pause_requested:
            raise WorkPaused
        if self._blocked:
            raise WorkPaused(*self._blocked)
        if out_of_memory and -process.returncode == signal.SIGKILL:
            raise WorkFailed("out_of_memory", "The machine ran out of memory. Use a smaller batch or shorter lengths.")
        if status.state == "stopped":
            raise WorkCrashed(status.message or "The program stopped by itself.")
        raise WorkCrashed(f"The program {_say_exit(process.returncode)} before it was done.")

    def _wait_for_slot(self) -> None:
        """Between two programs of one row another worker may have slipped in; its program ends sometime."""
        wait_under_lease(self.work, lambda: "" if self._slot.take() else "Waiting for the device")
        self._renewed_at = read_clock()


def wait_under_lease(work: LeasedWork, find_hindrance: Callable[[], str]) -> None:
    """Asks every second until nothing hinders the work any more; meanwhile the page says what does.

    Raises WorkCancelled, WorkPaused, WorkDrained, DatabaseLost or LeaseLost.
    """
    renewed_at = read_clock()
    while True:
        began = read_clock()
        try:
            if not (hindrance := find_hindrance()):
                return
            if leases.extend(work, message=hindrance):
                raise WorkCancelled
            renewed_at = began
        except (DatabaseError, InterfaceError) as error:
            connection.close()
            if read_clock() - renewed_at > settings.LEASE_SECONDS * SILENT_SHARE:
                raise DatabaseLost from error
        if work.pause_requested:
            raise WorkPaused
        if is_draining():
            raise WorkDrained
        time.sleep(min(1.0, settings.HEARTBEAT_SECONDS))


def read_clock() -> float:
    """Seconds, never set back; goes on while the machine sleeps, as the lease in the database does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


def start_program(job: ProgramJob, files: ProgramFolder, *, slot: Slot) -> subprocess.Popen[bytes]:
    """An argument list, no shell; a session of its own, so that the whole group can be killed."""
    parent = os.getpid()

    def die_with_parent() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    output = files.open_log()
    try:
        return subprocess.Popen(
            [sys.executable, *job.command, str(files.path)],
            cwd=files.path,
            env=build_environment(online=job.online) | job.env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
            pass_fds=[slot.descriptor] if slot.descriptor is not None else [],
        )
    finally:
        os.close(output)


def build_environment(*, online: bool) -> dict[str, str]:
    """The worker's environment without what opens doors, and with the network's libraries kept at home."""
    kept = {name: value for name, value in os.environ.items() if not _PRIVATE.search(name.upper())}
    if online and "HF_TOKEN" in os.environ:  # for gated models; a person put it there for this
        kept["HF_TOKEN"] = os.environ["HF_TOKEN"]
    base = str(settings.BASE_DIR)
    kept |= {
        "PLUMBLINE_SUPERVISED": "1",
        "PLUMBLINE_HEARTBEAT_TIMEOUT_S": str(settings.LEASE_SECONDS * SILENT_SHARE),
        "PYTHONPATH": os.pathsep.join(filter(None, [base, os.environ.get("PYTHONPATH", "")])),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as nvidia-smi counts, by which the worker said what it has
        "PYTHONSAFEPATH": "1",  # nothing is imported from a folder that holds a model
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore::FutureWarning",  # libraries talking to their developers in the log of a run
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return kept if online else kept | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Looks without reaping: as long as the dead leader is there, its group's number is nobody else's."""
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def wait_briefly(process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + POLL_S
    while time.monotonic() < until and not has_ended(process):
        time.sleep(0.05)


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Ends the program and whatever it started."""
    if process.returncode is None:
        signal_group(process, signal.SIGKILL)
        process.wait()


def _read_progress(status: Status) -> dict[str, Any]:
    numbers = {"step": status.step, "total_steps": status.total_steps}
    known = {name: number for name, number in numbers.items() if number is not None}
    # A program that has finished is not yet the end of the work: another may follow, and its results must be filed.
    message = "" if status.state == "finished" else status.message
    return {"message": message, "seconds_left": status.seconds_left} | known


def _say_exit(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    often = " (often: the machine ran out of memory)" if -code == signal.SIGKILL else ""
    return f"was ended by signal {name}{often}"
