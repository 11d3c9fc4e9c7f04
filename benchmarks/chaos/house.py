"""The web server and several workers, as ``manage.py serve`` starts them; whatever dies is started again at once."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

from benchmarks.chaos.servers import is_running, list_descendants
from benchmarks.labeling.scratch import ROOT
from config.management.commands.serve import list_services

LOOK_EVERY_S = 0.4


@dataclass
class Program:
    """One of the house's processes and all below it; ``env`` is what it has beyond the house's own."""

    name: str
    argv: list[str]
    log: Path
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.argv,
                env=os.environ | self.env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0


class House:
    """``workers`` train, each on a device of its own; one more does the short work."""

    def __init__(self, workers: int) -> None:
        by_name = {service.name: service.argv for service in list_services("127.0.0.1")}
        logs = Path(settings.DATA_DIR)
        self.web = Program("web", by_name["web"], logs / "web.log")
        self.short = Program("short", by_name["worker"], logs / "short.log")
        self.workers = [
            Program(
                f"gpu{number}",
                [part.replace("gpu@", f"gpu{number}@") for part in by_name["trainer"]],
                logs / f"gpu{number}.log",
                {"CUDA_VISIBLE_DEVICES": str(number)},
            )
            for number in range(workers)
        ]
        self.crowded: list[str] = []
        """Moments when a device had two trainers; each a line in words."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    @property
    def programs(self) -> list[Program]:
        return [self.web, self.short, *self.workers]

    def start(self) -> None:
        for program in self.programs:
            program.start()
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        for program in self.programs:
            for pid in [program.pid, *list_descendants(program.pid)]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if program.process:
                program.process.wait()

    def find_worker(self, pid: int) -> Program | None:
        """Whose process this is."""
        return next((worker for worker in self.workers if pid in list_descendants(worker.pid)), None)

    def move_clock(self, worker: Program, by_s: int) -> None:
        """Starts the worker anew with its time of day off by so much; 0 sets it right."""
        worker.env |= {"LD_PRELOAD": str(build_clock()) if by_s else "", "CHAOS_CLOCK_S": str(by_s)}
        os.kill(worker.pid, signal.SIGTERM)

    def _keep(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            for program in self.programs:
                if program.process and program.process.poll() is not None:
                    program.start()
            self._look_at_devices()

    def _look_at_devices(self) -> None:
        """A trainer that is about to end counts as long as it lives."""
        trainers: dict[str, list[int]] = {}
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = path.read_bytes().split(b"\0")
                if b"training.engine.run" not in words:
                    continue
                environment = dict(
                    part.partition(b"=")[::2] for part in path.with_name("environ").read_bytes().split(b"\0")
                )
                if environment.get(b"DATA_DIR") == os.fsencode(settings.DATA_DIR) and is_running(int(path.parent.name)):
                    device = environment[b"CUDA_VISIBLE_DEVICES"].decode()
                    trainers.setdefault(device, []).append(int(path.parent.name))
        for device, pids in trainers.items():
            if len(pids) > 1:
                self.crowded.append(f"{time.monotonic():.2f}: device {device} has trainers {sorted(pids)}")


def build_clock() -> Path:
    library = Path(settings.DATA_DIR) / "clock.so"
    if not library.exists():
        source = Path(__file__).with_name("clock.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source], check=True)  # noqa: S607
    return library
