"""Loaded before the settings: gives every run of the tests a data folder of its own.

Several runs side by side (workers of one run, or two people on one machine) then share neither database nor files.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

if "DATA_DIR" not in os.environ:
    folder = tempfile.mkdtemp(prefix="plumbline-test-")
    owner = os.getpid()
    os.environ["DATA_DIR"] = folder

    def remove_folder() -> None:
        if os.getpid() == owner:  # not in a fork of ours
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove_folder)

if worker := os.environ.get("PYTEST_XDIST_WORKER"):  # the folder came down from the process that started this one
    os.environ["DATA_DIR"] = os.path.join(os.environ["DATA_DIR"], worker)

Path(os.environ["DATA_DIR"], "static").mkdir(parents=True, exist_ok=True)
os.environ.setdefault("LOG_LEVEL", "WARNING")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The browser tests drive Chromium from an event loop in the very thread in which they ask the database.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
