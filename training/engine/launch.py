"""Starts the training program through accelerate and ends as the program does.

    python -m training.engine.launch OPTIONS -m training.engine.run RUN_DIR

The options are those of ``accelerate launch``. That one ends every program that does not end with 0, one that was
stopped on request included, with a traceback of its own and exit code 1, as if it had crashed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from accelerate.commands.launch import launch_command, launch_command_parser
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError


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
    leave(start(sys.argv[1:]))
