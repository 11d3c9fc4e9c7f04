"""Several programs in one terminal: merged, labelled output; restart of what dies; one Ctrl-C ends them all.

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

GRACE_S = 30.0
"""A training program gets this long to write a checkpoint after Ctrl-C."""

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
        self._ending = threading.Event()
        self._width = max(len(service.name) for service in services)
        self._print_lock = threading.Lock()

    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self._ending.set())
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

    def say(self, name: str, line: str) -> None:
        colour = "" if not sys.stdout.isatty() else f"\033[{self._colour(name)}m"
        reset = "\033[0m" if colour else ""
        with self._print_lock:
            print(f"{colour}{name:<{self._width}} |{reset} {line}", flush=True)

    def _colour(self, name: str) -> int:
        names = ["plumbline", *(service.name for service in self._services)]
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
            self.say(name, line.decode("utf-8", "replace").rstrip())

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
        deadline = time.monotonic() + GRACE_S
        self._say_what_is_awaited()
        for name, process in self._processes.items():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.say(name, f"did not leave within {GRACE_S:.0f} s; killed")
                process.kill()
                process.wait()

    def _say_what_is_awaited(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and any(process.poll() is None for process in self._processes.values()):
            time.sleep(0.05)
        for service in self._services:
            if self._processes[service.name].poll() is None:
                self.say(service.name, f"{service.parting}; waiting for it, at most {GRACE_S:.0f} s")


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.umask(0o077)
