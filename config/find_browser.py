"""``python -m config.find_browser``: finds the browser that the tests drive, or installs Debian's where it can.

Where it is not, the tests that need one fail and say the command to type; they are never skipped in silence.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
COMMAND = "sudo apt-get install -y chromium"


def find_browser() -> Path | None:
    """The browser named by CHROMIUM, else the first one on the PATH."""
    named = os.environ.get("CHROMIUM")
    found = [path for name in ([named] if named else NAMES) if (path := shutil.which(name))]
    return Path(found[0]) if found else None


def install_browser() -> Path | None:
    """Asks Debian's package manager; only root can, and only where there is one."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    print("No browser found; installing Debian's chromium for the browser tests ...", flush=True)
    for argv in (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", "chromium", "fonts-noto-cjk"]):
        subprocess.run(
            argv, check=False, stdout=subprocess.DEVNULL, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        )
    return find_browser()


if __name__ == "__main__":
    if not (find_browser() or install_browser()):
        print(f"No browser found: the browser tests will fail. Type: {COMMAND}", flush=True)
