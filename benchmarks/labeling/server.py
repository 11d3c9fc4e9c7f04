"""The web server as ``manage.py serve`` starts it, and its supervisor: whatever is killed is started again at once."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import IO

from benchmarks.labeling.scratch import ROOT
from config.management.commands.serve import list_services


class WebServer:
    """A process group; its output goes to ``log``. The settings come from this process's environment."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._argv = next(service.argv for service in list_services("127.0.0.1") if service.name == "web")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        out: IO[bytes]
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(self._argv, cwd=ROOT, stdout=out, stderr=out, start_new_session=True)

    def kill(self) -> None:
        """SIGKILL for all its processes at once; nothing can be tidied up."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def read_cpu_seconds(self) -> float:
        """User and system time of all its processes so far."""
        ticks = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            if self._process and int(fields[2]) == self._process.pid:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def count_crashes(self) -> int:
        """Exceptions that the server wrote down."""
        return self.log.read_text(encoding="utf-8", errors="replace").count("Traceback (most recent call last)")

    def _end(self, how: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, how)
            self._process.wait()
