"""Several programs in one terminal: what is said there, and that nothing is left behind."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys

import pytest

SLOW = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(2.5), print("saved it", flush=True), sys.exit()))
print(os.getpid(), "at work", flush=True)
time.sleep(300)
"""
HOUSE = """
import os, sys
from config.foreground import Foreground, Service
quick = Service("quick", [sys.executable, "-c", "import time; time.sleep(60)"])
slow = Service("slow", [sys.executable, "-c", sys.argv[1]], parting="saving a checkpoint")
house = Foreground([quick, slow], env=os.environ, on_start=lambda: house.say("plumbline", "Welcome"))
sys.exit(house.run())
"""


@pytest.fixture
def terminal() -> tuple[int, int]:
    """Our end and the programs' end."""
    return pty.openpty()


def test_ctrl_c_tells_what_is_waited_for(terminal: tuple[int, int]) -> None:
    house, ours = start(terminal, SLOW)
    said = read_until(ours, "at work")
    house.send_signal(signal.SIGINT)
    said += read_until(ours, "")
    assert house.wait(20) == 0
    assert "Welcome" in said  # from nobody in the list of programs
    assert "saving a checkpoint; waiting for it" in said and "Ctrl-C again ends everything at once" in said
    assert "saved it" in said and "killed" not in said
    assert "finishing what it has begun" not in said  # the quick one left at once
    assert "Traceback" not in said


def test_a_second_ctrl_c_waits_for_nobody(terminal: tuple[int, int]) -> None:
    house, ours = start(terminal, SLOW.replace("2.5", "300"))
    said = read_until(ours, "at work")
    number = int(re.findall(r"(\d+) at work", said)[0])
    house.send_signal(signal.SIGINT)
    said = read_until(ours, "Ctrl-C again")
    house.send_signal(signal.SIGINT)
    said += read_until(ours, "")
    assert house.wait(60) == 0
    assert "killed" in said and "saved it" not in said
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def start(terminal: tuple[int, int], slow: str) -> tuple[subprocess.Popen[bytes], int]:
    """The house, and the end of the terminal at which we read what it says."""
    ours, theirs = terminal
    house = subprocess.Popen([sys.executable, "-c", HOUSE, slow], stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    return house, ours


def read_until(terminal: int, word: str) -> str:
    """What appears up to ``word``; with none given, to the end."""
    text = ""
    while not word or word not in text:
        try:
            text += os.read(terminal, 4096).decode()
        except OSError:  # the last program has closed the terminal
            break
    return text
