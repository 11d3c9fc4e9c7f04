"""Workers under Slurm and in Kubernetes: the files that docs/operations.md hands out. No cluster; signals are real."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from models_registry.supervisor import DRAIN_GRACE_S, TERM_GRACE_S
from tests.catalogue import ROOT

DEPLOY = ROOT / "docs/deploy"
WORKER = """#!/bin/bash
echo "$@" > started
trap 'sleep 0.3; echo drained > drained; exit 0' TERM
while :; do sleep 0.05; done
"""
"""Stands for celery; what a real worker does at SIGTERM is in test_chaos.py."""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A folder like the code's, with a worker and a scontrol that write down how they were called."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    tools = {".venv/bin/python": WORKER, "scontrol": '#!/bin/sh\necho "$@" > requeued\n'}
    for name, text in tools.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def wait_for(path: Path) -> str:
    until = time.monotonic() + 60
    while not path.exists() or not path.read_text():
        assert time.monotonic() < until, f"{path.name} did not come"
        time.sleep(0.02)
    return path.read_text()


def test_slurm_job_lets_its_worker_drain_and_queues_itself_again(job: Path) -> None:
    environment = {"PATH": f"{job}{os.pathsep}{os.environ['PATH']}", "SLURM_JOB_ID": "4711"}
    process = subprocess.Popen(["bash", DEPLOY / "worker.sbatch"], cwd=job, env=environment)
    try:
        assert "-Q gpu -c 1 -n slurm-4711-0@%h" in wait_for(job / "started")
        process.send_signal(signal.SIGTERM)  # as Slurm does before the time is over: to the script alone
        assert process.wait(60) == 0
    finally:
        process.kill()
    assert (job / "drained").exists()  # waited for, before the job was queued again
    assert (job / "requeued").read_text() == "requeue 4711\n"


def test_slurm_and_kubernetes_give_a_worker_the_time_that_it_takes() -> None:
    needed = DRAIN_GRACE_S + TERM_GRACE_S
    slurm = re.search(r"^#SBATCH --signal=B:TERM@(\d+)$", (DEPLOY / "worker.sbatch").read_text(), re.MULTILINE)
    manifest = yaml.safe_load((DEPLOY / "worker.yaml").read_text())
    pod = manifest["spec"]["template"]["spec"]
    assert slurm and int(slurm[1]) > needed and pod["terminationGracePeriodSeconds"] > needed
    assert manifest["spec"]["selector"]["matchLabels"] == manifest["spec"]["template"]["metadata"]["labels"]
    (container,) = pod["containers"]
    assert container["command"][:3] == ["python", "-m", "celery"]  # no shell between, which would keep the signal
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
