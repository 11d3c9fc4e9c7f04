"""What a worker says of its machine: read from the driver's own tool, as programs will see it."""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import run

import pytest

from config.startup import read_labels
from models_registry import machines
from models_registry.machines import GB, Ask, Gpu, Machine, describe_machine, list_gpus

A100, T4 = Gpu("NVIDIA A100-SXM4-80GB", 81920 * 2**20), Gpu("Tesla T4", 15360 * 2**20)
SMI = """#!/bin/sh
case "$*" in
  *query-gpu*) printf '0, GPU-aaa1, NVIDIA A100-SXM4-80GB, 81920\\n1, GPU-bbb2, Tesla T4, 15360\\n' ;;
  -L) printf 'GPU 0: NVIDIA A100 (UUID: GPU-aaa1)\\n  MIG 1g.10gb     Device  0: (UUID: MIG-7)\\n'
      printf '  MIG 2g.20gb     Device  1: (UUID: MIG-9)\\n' ;;
esac
"""


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A driver's tool for two cards."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(SMI)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tool


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, (A100, T4)),
        ("1", (T4,)),
        ("1,0", (T4, A100)),
        ("GPU-aaa", (A100,)),
        ("0,7,1", (A100,)),
        ("", ()),
        ("-1", ()),
        ("MIG-9", (Gpu("MIG 2g.20gb", 20 * GB),)),
    ],
)
def test_gpus_as_programs_of_the_worker_see_them(
    smi: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, expected: tuple[Gpu, ...]
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert list_gpus() == expected


def test_a_driver_that_does_not_work_is_no_gpu(smi: Path) -> None:
    smi.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    assert list_gpus() == ()


def test_what_a_machine_can_hold() -> None:
    """A run of two takes the first two, so the smaller one counts; GB as on the box."""
    machine = Machine(gpus=(A100, T4), labels=("eu", "a100"))
    assert machine.gpu_sizes_gb == [85, 16]
    assert machine.meets(Ask())
    assert machine.meets(Ask(gpus=1, gpu_memory_gb=80, label="a100"))
    assert not machine.meets(Ask(gpus=2, gpu_memory_gb=80))
    assert machine.meets(Ask(gpus=2, gpu_memory_gb=16))
    assert not machine.meets(Ask(gpus=3))
    assert not machine.meets(Ask(label="us"))
    assert Machine.from_dict(machine.to_dict()) == machine
    assert Machine.from_dict({"of_a_later_version": 1}) == Machine()


def test_this_machine_is_described_without_torch() -> None:
    """The worker's main process lives for months beside the programs that need the memory."""
    code = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
import django
django.setup()
from models_registry.machines import describe_machine
machine = describe_machine()
assert machine.cores >= 1 and machine.memory > 2**28 and machine.disk_free > 2**20, machine
assert set(machine.versions) == {"plumbline", "python", "torch", "transformers", "accelerate"}, machine.versions
assert not {"torch", "transformers", "accelerate"} & set(sys.modules)
"""
    ended = run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert describe_machine() is machines.describe_machine()


def test_labels_that_nobody_could_ask_for_end_the_worker_at_its_start() -> None:
    assert read_labels("WORKER_LABELS", ["a100", "eu-west.1"]) == ["a100", "eu-west.1"]
    with pytest.raises(SystemExit, match="WORKER_LABELS: A 100 is no label"):
        read_labels("WORKER_LABELS", ["A 100"])
