"""What every engine program (training, sampling, scoring, preparing a model) owes its supervisor.

The contract is files in one folder, so that a program also runs by hand and without a database:

    config.json     in   what to do
    heartbeat       in   a counter that the supervisor rewrites every few seconds (only when supervised)
    stop            in   appears when the program should save what it has and leave; holds the reason
    status.json     out  state, step, total_steps, message, cause; replaced atomically
    metrics.jsonl   out  one JSON object a line, appended
    result.json     out  what the supervisor files in the database at the end

A supervised program (environment variable PLUMBLINE_SUPERVISED=1) is asked to leave when its parent dies, and leaves by
itself when the heartbeat stands still: a supervisor that was paused past its lease must not leave a second trainer at
work. The parent may be a mere launcher that the signal to stop has killed already, so its death is a request to save
and leave (SIGTERM); the heartbeat sets the limit.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

State = Literal["starting", "running", "finished", "stopped", "failed"]

HEARTBEAT_TIMEOUT_S = float(os.environ.get("PLUMBLINE_HEARTBEAT_TIMEOUT_S", "75"))
"""A heartbeat older than this means that the lease (120 s unless set otherwise) may be lost."""

EXIT_FAILED = 1
EXIT_STOPPED = 3
EXIT_DISK_FULL = 74
"""Where not even the cause could be written."""
EXIT_ORPHANED = 75

_WATCH_S = 0.2
_PR_SET_PDEATHSIG = 1
_NO_MEMORY = "The machine ran out of memory. Use a smaller batch or shorter lengths."
_NO_MEMORY_SIGNS = ("out of memory", "can't allocate memory", "bad_alloc", "could not create a primitive")
"""Of CUDA, of torch's own allocator, of C++, and of oneDNN, which does the matrix products on a CPU."""
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class ProgramError(Exception):
    """A failure that has a cause in words.

    ``code`` is stable and machine-readable (``out_of_memory``, ``nan_loss``, ``disk_full``, ``bad_data`` ...);
    the message says to a person what happened and what to change.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def write_json_atomically(path: Path, value: Any) -> None:
    """Replaces ``path`` in one step: a reader sees the old or the new content, never half of it."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with scratch.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


class Program:
    """The program's side of the contract; ``folder`` is the run or job folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stop_signal: str | None = None
        self._status: dict[str, Any] = {}
        self._status_lock = threading.Lock()
        self._heartbeat: _Heartbeat | None = None

    @property
    def stop_reason(self) -> str | None:
        """Why the program was asked to leave, or None. Costs one ``stat`` and a short read; ask once a step.

        Does not return where the lease may be lost: a program that was paused past it must not begin another step.
        """
        if self._heartbeat:
            self._heartbeat.leave_if_silent()
        if self._stop_signal:
            return self._stop_signal
        stop = self.folder / "stop"
        if stop.exists():
            self._stop_signal = stop.read_text(encoding="utf-8").strip() or "stop"
        return self._stop_signal

    def stop_with_others(self) -> None:
        """Another process of the same work was asked to leave, so this one ends as if it had been asked, too."""
        self._stop_signal = self.stop_reason or "asked together with another process"

    def report(self, state: State, **fields: Any) -> None:
        """Writes status.json; fields given before are kept until given anew."""
        with self._status_lock:
            self._status |= {"state": state, "pid": os.getpid(), "updated_at": time.time(), **fields}
            write_json_atomically(self.folder / "status.json", self._status)

    def log_metrics(self, values: dict[str, Any]) -> None:
        """Appends one line to metrics.jsonl; a value that is not finite is written as null."""
        line = json.dumps(_finite(values), ensure_ascii=False, allow_nan=False)
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def write_result(self, result: dict[str, Any]) -> None:
        write_json_atomically(self.folder / "result.json", _finite(result))

    @contextmanager
    def leaving_at_once(self) -> Iterator[None]:
        """Around work that a library does in one long call: when asked to stop, the process ends within a second.

        Nothing is cleaned up, so this is only for work that begins anew the next time.
        """
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_WATCH_S):
                if self.stop_reason:
                    self._report_stopped()
                    os._exit(EXIT_STOPPED)

        watcher = threading.Thread(target=watch, name="stop", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def run(self, main: Callable[[Program], None]) -> int:
        """Runs ``main`` and turns its end into a status and an exit code.

        0 finished, 3 stopped on request, 1 failed with a cause in status.json.
        """
        self._heartbeat = _stay_under_supervision(self.folder)
        signal.signal(signal.SIGTERM, self._remember_signal)
        signal.signal(signal.SIGINT, self._remember_signal)
        self.report("starting", message="Starting")
        try:
            main(self)
        except ProgramError as error:
            return self._fail(error.code, str(error))
        except MemoryError:
            return self._fail("out_of_memory", _NO_MEMORY)
        except OSError as error:
            if error.errno == errno.ENOMEM:
                return self._fail("out_of_memory", _NO_MEMORY)
            if error.errno in _DISK_FULL:
                return self._fail("disk_full", "The disk is full. Free some space, then resume the run.")
            raise_as = f"{type(error).__name__}: {error}"
            _print_traceback()
            return self._fail("io_error", raise_as)
        except Exception as error:  # the last line of defence: the cause must reach the dashboard
            _print_traceback()
            if any(sign in str(error).lower() for sign in _NO_MEMORY_SIGNS):
                return self._fail(
                    "out_of_memory", "The device ran out of memory. Use a smaller batch or shorter lengths."
                )
            return self._fail("crashed", f"{type(error).__name__}: {error}")
        if self.stop_reason and not (self.folder / "result.json").exists():
            self._report_stopped()
            return EXIT_STOPPED
        self.report("finished", message="Finished")
        return 0

    def _report_stopped(self) -> None:
        self.report("stopped", message=f"Stopped: {self.stop_reason}")

    def _fail(self, code: str, text: str) -> int:
        print(f"failed ({code}): {text}", file=sys.stderr, flush=True)
        try:
            self.report("failed", message=text, cause={"code": code, "text": text})
        except OSError as error:  # a full disk: the exit code and the log still tell
            print(f"status.json could not be written: {error}", file=sys.stderr, flush=True)
            if error.errno in _DISK_FULL:
                return EXIT_DISK_FULL
        return EXIT_FAILED

    def _remember_signal(self, number: int, _frame: Any) -> None:
        self._stop_signal = signal.Signals(number).name


def _finite(value: Any) -> Any:
    """NaN and infinities are no JSON; they become null."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


class _Heartbeat:
    """The supervisor's counter, and when it was last seen to move."""

    def __init__(self, path: Path) -> None:
        self._path, self._beat, self._seen_at = path, "", _read_clock()

    def leave_if_silent(self) -> None:
        try:
            beat = self._path.read_text(encoding="utf-8")
        except OSError:
            beat = self._beat
        if beat != self._beat:
            self._beat, self._seen_at = beat, _read_clock()
        elif _read_clock() - self._seen_at > HEARTBEAT_TIMEOUT_S:
            print("The supervisor fell silent; leaving.", file=sys.stderr, flush=True)
            os._exit(EXIT_ORPHANED)

    def watch(self) -> None:
        while True:
            self.leave_if_silent()
            time.sleep(2.0)


def _read_clock() -> float:
    """Goes on while the machine sleeps, as the lease does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


def _stay_under_supervision(folder: Path) -> _Heartbeat | None:
    if os.environ.get("PLUMBLINE_SUPERVISED") != "1":
        return None
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent died before the call
            os._exit(EXIT_ORPHANED)
    heartbeat = _Heartbeat(folder / "heartbeat")
    threading.Thread(target=heartbeat.watch, daemon=True).start()
    return heartbeat


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()
