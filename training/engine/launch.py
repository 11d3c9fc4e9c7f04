"""Starts the training program through accelerate and ends as the program does.

    python -m training.engine.launch OPTIONS -m training.engine.run RUN_DIR

The options are those of ``accelerate launch``. That one ends every program that does not end with 0, one that was
stopped on request included, with a traceback of its own and exit code 1, as if it had crashed.

It also gives each program a session of its own and no open files. Here they stay in this process's group, which the
supervisor ends as a whole, and hold the device's slot (models_registry/slots.py): one that hangs outlives nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

from accelerate.commands.launch import launch_command, launch_command_parser
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.multiprocessing.subprocess_handler import SubprocessHandler


def keep_together() -> None:
    """From now on programs are started in our own group, with the files that we were handed."""
    handed = list_handed()

    def start_beside(self: SubprocessHandler, args: tuple[str, ...], env: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(args, env=env, stdout=self._stdout, stderr=self._stderr, pass_fds=handed)

    def end_alone(self: SubprocessHandler, death_sig: signal.Signals | None = None) -> None:
        self.proc.send_signal(death_sig or signal.SIGTERM)
        for output in (self._stdout, self._stderr):
            if output:
                output.close()

    handler: Any = SubprocessHandler
    handler._popen, handler.close = start_beside, end_alone


def list_handed() -> list[int]:
    """Open files, beside the usual three, that whoever started us meant for us: Python's own are not inheritable."""
    found = []
    for number in map(int, os.listdir("/dev/fd")):
        with suppress(OSError):  # that of the listing
            if number > 2 and os.get_inheritable(number):
                found.append(number)
    return found


def start(arguments: list[str]) -> int:
    """The exit code of the program; negative is the signal that ended it."""
    try:
        launch_command(launch_command_parser().parse_args(arguments))
    except subprocess.CalledProcessError as error:
        return error.returncode
    except ChildFailedError as error:  # one of several processes
        return int(error.get_first_failure()[1].exitcode)
    return 0


def leave(code: int) -> None:
    """Ends this process in the same way, so that whoever started it reads the cause: SIGKILL often means memory."""
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    keep_together()
    leave(start(sys.argv[1:]))
