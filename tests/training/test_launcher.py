"""What accelerate's launcher starts for a run of several processes goes when the run goes, however it hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from models_registry.slots import Slot
from models_registry.supervisor import build_environment, has_ended, kill_group
from tests.real_workers import wait_until
from training.accelerate_config import LAUNCH_FILE, describe_launch, write_launch
from training.models import Layout

HANGS = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(f"{sys.argv[1]}/{os.getpid()}.pid", "w").close()
time.sleep(600)
"""


def test_programs_that_hang_hold_the_device_until_they_are_ended_with_their_launcher(
    tmp_path: Path, settings: Any
) -> None:
    settings.DATA_DIR = tmp_path
    (tmp_path / "hang.py").write_text(HANGS)
    write_launch(tmp_path, describe_launch(Layout(2)))
    command = ["-m", "training.engine.launch", "--config_file", str(tmp_path / LAUNCH_FILE)]
    slot, other = Slot("device"), Slot("device")
    assert slot.take() and slot.descriptor is not None
    launcher = subprocess.Popen(
        [sys.executable, *command, str(tmp_path / "hang.py"), str(tmp_path)],
        env=build_environment(online=False) | {"CUDA_VISIBLE_DEVICES": ""},
        start_new_session=True,
        pass_fds=[slot.descriptor],
    )
    slot.drop()
    try:
        wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2, 90)
        os.kill(launcher.pid, signal.SIGKILL)
        wait_until(lambda: has_ended(launcher), 10)
        assert not other.take()
    finally:
        kill_group(launcher)
    wait_until(other.take, 10)
    other.drop()
