"""Programs under supervision: real subprocesses, ended in every way there is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from models_registry import leases, program_folder, supervisor
from models_registry.draining import is_draining, start_draining, stop_draining
from models_registry.inference.program import EXIT_ORPHANED
from models_registry.models import ModelImport
from models_registry.slots import Slot
from models_registry.supervisor import ProgramJob, Supervisor, build_environment
from models_registry.usage import Usage
from tests.models_registry.conftest import PROGRAMS

Supervise = Callable[..., dict[str, Any]]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_result_progress_and_log_reach_the_row(supervise: Supervise, claimed: ModelImport) -> None:
    lines: list[dict[str, Any]] = []
    assert supervise("finish", steps=4, on_metrics=lines.extend) == {"steps": 4}
    claimed.refresh_from_db()
    assert (claimed.step, claimed.total_steps, claimed.seconds_left) == (4, 4, 7)
    assert claimed.log_tail.splitlines() == ["step 1", "step 2", "step 3", "step 4"]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert claimed.state == "running"  # how it ends is for the caller to file, with the results


def test_failure_comes_with_its_cause(supervise: Supervise) -> None:
    with pytest.raises(leases.WorkFailed, match="Line 3 holds no pair") as caught:
        supervise("fail")
    assert caught.value.code == "bad_data"


def test_program_that_vanishes_is_a_crash(supervise: Supervise) -> None:
    with pytest.raises(leases.WorkCrashed, match="signal SIGKILL"):
        supervise("vanish")


def test_program_that_cannot_start_is_a_crash_with_the_reason_in_the_log(
    fast: None, claimed: ModelImport, data_dir: Path
) -> None:
    with pytest.raises(leases.WorkCrashed, match="exit code 1"):
        Supervisor(claimed, Slot("")).run(ProgramJob(["-m", "no.such.module"], {}), claimed.attempt_folder)
    claimed.refresh_from_db()
    assert "No module named" in claimed.log_tail


def test_cancel_asks_first(supervise: Supervise, claimed: ModelImport) -> None:
    lines: list[dict[str, Any]] = []

    def cancel(new: list[dict[str, Any]]) -> None:
        lines.extend(new)
        if len(lines) == 1:
            leases.request_cancel(claimed)

    began = time.monotonic()
    with pytest.raises(leases.WorkCancelled):
        supervise("wait", on_metrics=cancel)
    assert time.monotonic() - began < 8
    assert lines[-1] == {"step": 2, "stop": "Cancelled"}


def test_pause_asks_and_waits_for_the_checkpoint(supervise: Supervise, claimed: ModelImport) -> None:
    lines: list[dict[str, Any]] = []

    def pause(new: list[dict[str, Any]]) -> None:
        lines.extend(new)
        if len(lines) == 1:
            leases.request_pause(claimed)

    with pytest.raises(leases.WorkPaused) as paused:
        supervise("wait", on_metrics=pause)
    assert (lines[-1], paused.value.code) == ({"step": 2, "stop": "Paused"}, "")


def test_what_is_used_is_told_and_may_end_the_attempt(
    supervise: Supervise, claimed: ModelImport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models_registry.usage.SAMPLE_S", 0.3)
    seen: list[Usage] = []

    def judge(usage: Usage) -> tuple[str, str] | None:
        seen.append(usage)
        measured = [each.values for each in seen if each.values]
        return ("hour_limit", "Long enough.") if len(measured) > 1 else None

    with pytest.raises(leases.WorkPaused, match="Long enough") as paused:
        supervise("wait", on_usage=judge)
    assert paused.value.code == "hour_limit"
    values = next(usage.values for usage in seen if usage.values)
    assert values["cpu"] > 0 and values["memory"] > 5_000_000 and values["disk"] > 0
    assert sum(usage.seconds for usage in seen) >= 0.6
    assert (claimed.attempt_folder / "stop").read_text() == supervisor.LIMIT


def test_program_ended_for_want_of_memory_is_not_started_again(
    supervise: Supervise, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's count cannot be raised here without ending somebody."""
    kills = iter([4, 5])
    monkeypatch.setattr(supervisor, "count_memory_kills", lambda: next(kills))
    with pytest.raises(leases.WorkFailed, match="ran out of memory") as failed:
        supervise("vanish")
    assert failed.value.code == "out_of_memory"


def test_who_waits_for_a_pause_may_cancel(
    supervise: Supervise, claimed: ModelImport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pause would have given the program two minutes."""
    monkeypatch.setattr(supervisor, "CANCEL_GRACE_S", 0.1)
    monkeypatch.setattr(supervisor, "TERM_GRACE_S", 0.1)
    ask = Supervisor._ask_to_stop

    def ask_and_cancel(self: Supervisor, reason: str, files: Any, *, grace: float) -> None:
        ask(self, reason, files, grace=grace)
        if reason == supervisor.PAUSE:
            leases.request_cancel(claimed)

    monkeypatch.setattr(Supervisor, "_ask_to_stop", ask_and_cancel)
    with pytest.raises(leases.WorkCancelled):
        supervise("defy", on_metrics=lambda _new: leases.request_pause(claimed))


def test_what_does_not_leave_is_killed_with_its_children(
    supervise: Supervise, claimed: ModelImport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "CANCEL_GRACE_S", 0.2)
    monkeypatch.setattr(supervisor, "TERM_GRACE_S", 0.2)
    pids: list[int] = []

    def cancel(new: list[dict[str, Any]]) -> None:
        pids.extend(new[0]["pids"])
        assert all(map(is_alive, pids))
        leases.request_cancel(claimed)

    with pytest.raises(leases.WorkCancelled):
        supervise("defy", on_metrics=cancel)
    wait_until(lambda: not any(map(is_alive, pids)))
    assert len(pids) == 2


def test_lost_lease_kills_at_once(supervise: Supervise, claimed: ModelImport) -> None:
    pids: list[int] = []

    def lose(new: list[dict[str, Any]]) -> None:
        pids.extend(new[0]["pids"])
        ModelImport.objects.filter(pk=claimed.pk).update(epoch=7)

    with pytest.raises(leases.LeaseLost):
        supervise("defy", on_metrics=lose)
    wait_until(lambda: not any(map(is_alive, pids)))
    assert len(pids) == 2


def test_database_that_stays_away_ends_the_program_before_the_lease_is_over(
    supervise: Supervise, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LEASE_SECONDS = 2.4
    extend, calls = leases.extend, []

    def fail_after_first(*args: Any, **kwargs: Any) -> bool:
        calls.append(time.monotonic())
        if len(calls) > 1:
            raise OperationalError("the database is away")
        return extend(*args, **kwargs)

    monkeypatch.setattr(leases, "extend", fail_after_first)
    monkeypatch.setattr(leases, "look", fail_after_first)
    with pytest.raises(leases.DatabaseLost):
        supervise("defy")
    assert 1.5 < time.monotonic() - calls[0] < 4


def test_program_that_saves_and_leaves_for_want_of_the_database_has_not_crashed(
    supervise: Supervise, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is back as soon as the program has left, asked or by itself."""
    settings.LEASE_SECONDS = 20
    extend, end, calls = leases.extend, supervisor.kill_group, count()
    left = threading.Event()

    def fail_for_a_while(*args: Any, **kwargs: Any) -> bool:
        if next(calls) and not left.is_set():
            raise OperationalError("the database is away")
        return extend(*args, **kwargs)

    def note(process: subprocess.Popen[bytes]) -> None:
        left.set()
        end(process)

    monkeypatch.setattr(leases, "extend", fail_for_a_while)
    monkeypatch.setattr(supervisor, "kill_group", note)
    # Closing the connection would end the test's transaction.
    monkeypatch.setattr("models_registry.supervisor.connection.close", lambda: None)
    monkeypatch.setattr(supervisor, "SILENT_SHARE", 0.05)
    with pytest.raises(leases.DatabaseLost):
        supervise("wait")


def test_draining_worker_lets_the_program_save(supervise: Supervise) -> None:
    lines: list[dict[str, Any]] = []

    def drain(new: list[dict[str, Any]]) -> None:
        lines.extend(new)
        start_draining()

    try:
        with pytest.raises(leases.WorkDrained):
            supervise("wait", on_metrics=drain)
    finally:
        stop_draining()
    assert lines[-1]["stop"] == supervisor.DRAIN


def test_flag_of_an_earlier_worker_with_the_same_number_is_not_ours(data_dir: Path) -> None:
    start_draining()
    assert is_draining()
    (flag,) = (data_dir / "locks").glob("*.draining")
    flag.write_text(flag.read_text() + "0")
    assert not is_draining()
    flag.unlink()


def test_new_checkpoint_forgives_earlier_crashes(supervise: Supervise, claimed: ModelImport) -> None:
    ModelImport.objects.filter(pk=claimed.pk).update(crashes=3)
    marks = iter([10, 10])
    supervise("finish", find_progress=lambda: next(marks, 10))
    claimed.refresh_from_db()
    assert claimed.crashes == 3
    leases.requeue(claimed)
    again = leases.claim(claimed, "host:2")
    assert again is not None
    marks = iter([10])
    job = ProgramJob([*PROGRAMS], {"mode": "finish"}, find_progress=lambda: next(marks, 15))
    Supervisor(again, Slot("")).run(job, again.attempt_folder)
    again.refresh_from_db()
    assert again.crashes == 0


def test_endless_log_fills_neither_disk_nor_row(
    supervise: Supervise, claimed: ModelImport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program_folder, "LOG_MAX_BYTES", 1_000_000)
    log = claimed.attempt_folder / "log.txt"

    def let_go(_new: list[dict[str, Any]]) -> None:
        assert log.stat().st_size <= 3_000_000

    trim = program_folder.ProgramFolder.trim_log

    def trim_and_tell(files: program_folder.ProgramFolder) -> None:
        trim(files)
        if log.stat().st_size < 1_000_000 and (files.path / "metrics.jsonl").exists():
            (files.path / "trimmed").touch()

    monkeypatch.setattr(program_folder.ProgramFolder, "trim_log", trim_and_tell)
    supervise("shout", blocks=5, on_metrics=let_go)
    claimed.refresh_from_db()
    assert log.stat().st_size < 1_000_000
    assert claimed.log_tail.splitlines()[-1] == "the end"
    assert "was dropped" in claimed.log_tail


def test_program_gets_no_secrets_and_no_network(supervise: Supervise, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SECRET_KEY", "DATABASE_URL", "CELERY_BROKER_URL", "PGPASSWORD", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "kept from programs")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    told = supervise("tell_environment")
    seen = told["environment"]
    assert "kept from programs" not in seen.values()
    assert (seen["PLUMBLINE_SUPERVISED"], seen["HF_HUB_OFFLINE"], seen["OMP_NUM_THREADS"]) == ("1", "1", "1")
    assert told["folder"] not in told["path"]


def test_only_fetching_programs_may_use_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "for gated models")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    online = build_environment(online=True)
    assert online["HF_TOKEN"] == "for gated models"
    assert "HF_HUB_OFFLINE" not in online
    assert "HF_TOKEN" not in build_environment(online=False)


def test_program_holds_the_slot_while_it_lives(fast: None, claimed: ModelImport) -> None:
    slot, rival = Slot("device"), Slot("device")
    assert slot.take()
    seen: list[bool] = []

    def try_slot(_new: list[dict[str, Any]]) -> None:
        seen.append(slot.descriptor is None and rival.take())

    Supervisor(claimed, slot).run(
        ProgramJob(PROGRAMS, {"mode": "finish", "pause": 0.3}, on_metrics=try_slot), claimed.attempt_folder
    )
    assert seen[0] is False
    assert rival.take()
    rival.drop()


def test_second_program_waits_for_the_slot(fast: None, claimed: ModelImport) -> None:
    rival = Slot("device")
    assert rival.take()
    leases.request_cancel(claimed)
    with pytest.raises(leases.WorkCancelled):
        Supervisor(claimed, Slot("device")).run(ProgramJob(PROGRAMS, {"mode": "finish"}), claimed.attempt_folder)
    claimed.refresh_from_db()
    assert claimed.message == "Waiting for the device"
    rival.drop()


def test_own_process_is_not_left_with_children(supervise: Supervise) -> None:
    supervise("finish")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


STEPPER = """
import sys
from pathlib import Path
from models_registry.inference.program import Program
steps = (Path(sys.argv[1]) / "steps").open("ab", buffering=0)

def main(program):
    while not program.stop_reason:
        steps.write(b".")

sys.exit(Program(Path(sys.argv[1])).run(main))
"""


def test_program_that_was_frozen_past_its_lease_begins_no_further_step(tmp_path: Path) -> None:
    """As on a machine that was paused, its supervisor with it; the step that it was in may still end."""
    (tmp_path / "heartbeat").write_text("1")
    env = os.environ | {"PLUMBLINE_SUPERVISED": "1", "PLUMBLINE_HEARTBEAT_TIMEOUT_S": "1"}
    program = subprocess.Popen([sys.executable, "-c", STEPPER, str(tmp_path)], env=env)
    steps = tmp_path / "steps"
    wait_until(lambda: steps.exists() and steps.stat().st_size > 100)
    program.send_signal(signal.SIGSTOP)
    frozen_at = time.monotonic()
    wait_until(lambda: time.monotonic() - frozen_at > 1.5)
    done = steps.stat().st_size
    program.send_signal(signal.SIGCONT)
    assert program.wait(10) == EXIT_ORPHANED
    assert steps.stat().st_size - done <= 1


STARTER = """
import os, sys, time
from pathlib import Path
import django
django.setup()
from models_registry.program_folder import ProgramFolder
from models_registry.slots import Slot
from models_registry.supervisor import ProgramJob, start_program
files = ProgramFolder(Path(sys.argv[1]))
files.prepare({})
process = start_program(ProgramJob(["-c", "import time; time.sleep(60)"], {}), files, slot=Slot(""))
print(process.pid, flush=True)
time.sleep(60)
"""


def test_program_dies_with_its_supervisor_even_when_it_knows_nothing_of_it(tmp_path: Path) -> None:
    """As accelerate's launcher: it sets no death signal of its own."""
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings", "DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-c", STARTER, str(tmp_path / "attempt-1")]
    starter = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    with starter.stdout:
        program = int(starter.stdout.readline())
    assert is_alive(program)
    starter.kill()
    starter.wait()
    wait_until(lambda: not is_alive(program), 5)
