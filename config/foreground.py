"""Several programs in one terminal: merged, labelled output; restart of what dies; one Ctrl-C ends them all.

After it each program takes the time that it needs: how long that may be is its own affair (a worker gives a trainer two
minutes for its checkpoint, models_registry/supervisor.py), and no second limit here can cut it short. A second Ctrl-C
ends everything at once.

A ready-made runner (honcho 2.0) was tried first: it ends everything as soon as one program dies, gives programs 5 s to
leave, and leaves orphans when it is killed itself; see DECISIONS.md.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

HOUSE = "plumbline"
"""The name under which the runner itself speaks."""

PATIENCE_S = 1.5
"""Whoever waits longer than this after Ctrl-C is told what for."""

RESTARTS_IN_A_MINUTE = 5

_PR_SET_PDEATHSIG = 1
_COLOURS = (36, 33, 35, 32, 34)
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Service:
    """One program; ``argv`` goes to the kernel as it is, no shell in between.

    ``parting`` says what it may still have to do when it is asked to leave.
    """

    name: str
    argv: list[str]
    parting: str = "finishing what it has begun"
    started: list[float] = field(default_factory=list)


class Foreground:
    """Runs services until a signal comes or one of them cannot be kept alive; ``run`` returns the exit code."""

    def __init__(self, services: list[Service], *, env: Mapping[str, str], on_start: Callable[[], None]) -> None:
        self._services = services
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._env = dict(env)
        self._on_start = on_start
        self._ending, self._hurry = threading.Event(), threading.Event()
        self._width = max(len(name) for name in [HOUSE, *(service.name for service in services)])
        self._print_lock = threading.Lock()

    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._heed)
        for service in self._services:
            self._start(service)
        threading.Thread(target=self._on_start, daemon=True).start()
        code = 0
        while not self._ending.wait(0.3):
            for service in self._services:
                ended = self._processes[service.name].poll()
                if ended is not None and not self._restart(service, ended):
                    code = 1
                    self._ending.set()
        self._end_all()
        return code

    def _heed(self, _number: int, _frame: object) -> None:
        (self._hurry if self._ending.is_set() else self._ending).set()

    def say(self, name: str, line: str) -> None:
        colour = "" if not sys.stdout.isatty() else f"\033[{self._colour(name)}m"
        reset = "\033[0m" if colour else ""
        with self._print_lock:
            print(f"{colour}{name:<{self._width}} |{reset} {line}", flush=True)

    def _colour(self, name: str) -> int:
        names = [HOUSE, *(service.name for service in self._services)]
        return _COLOURS[names.index(name) % len(_COLOURS)]

    def _start(self, service: Service) -> None:
        service.started.append(time.monotonic())
        process = subprocess.Popen(
            service.argv,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone; we tell the services in our own way
            preexec_fn=_die_with_parent,
        )
        self._processes[service.name] = process
        threading.Thread(target=self._relay, args=(service.name, process), daemon=True).start()

    def _relay(self, name: str, process: subprocess.Popen[bytes]) -> None:
        for line in process.stdout or ():
            text = line.decode("utf-8", "replace").rstrip()
            if text.startswith('{"time": '):  # LOG_FORMAT=json: whoever gathers these wants nothing before them
                with self._print_lock:
                    print(text, flush=True)
            else:
                self.say(name, text)

    def _restart(self, service: Service, code: int) -> bool:
        recent = [at for at in service.started if time.monotonic() - at < 60]
        if len(recent) >= RESTARTS_IN_A_MINUTE:
            self.say(service.name, f"ended {len(recent)} times within a minute (exit code {code}); giving up")
            return False
        self.say(service.name, f"ended with exit code {code}; starting it again")
        self._start(service)
        return True

    def _end_all(self) -> None:
        for process in self._processes.values():
            process.terminate()
        if not self._wait_for_all(PATIENCE_S):
            for service in self._list_running():
                self.say(service.name, f"{service.parting}; waiting for it")
            self.say(HOUSE, "Ctrl-C again ends everything at once, saved or not.")
            self._wait_for_all()
        for service in self._list_running():
            self.say(service.name, "killed")
            self._processes[service.name].kill()
        for process in self._processes.values():
            process.wait()

    def _wait_for_all(self, seconds: float = float("inf")) -> bool:
        """Until all have left, the time is over, or somebody is in a hurry; True when all have left."""
        until = time.monotonic() + seconds
        while self._list_running() and time.monotonic() < until and not self._hurry.wait(0.05):
            pass
        return not self._list_running()

    def _list_running(self) -> list[Service]:
        return [service for service in self._services if self._processes[service.name].poll() is None]


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.umask(0o077)
