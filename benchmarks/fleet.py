"""Two GPU hosts that share no disk finish a queue of runs, while one of them is killed; then everything is counted.

    python -m benchmarks.fleet [--runs 20] [--store s3|file]

Where this is Linux and you are root, each host is a network namespace with a host name, a process namespace and a
DATA_DIR of its own, which reaches PostgreSQL, Redis and the object store, and nothing else; elsewhere it is a process
with a DATA_DIR of its own. PostgreSQL, Redis and the S3 server (moto) are started for this, and end with it. Prints
JSON; fails where a run was trained twice, ended without its one model, or weights differ in a single byte.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.labeling.scratch import ROOT, find_free_port

HOSTS = {"gpu-a": "10.77.1", "gpu-b": "10.77.2"}
"""Name: the network between it and this machine, which is .1 there."""
SETTINGS: dict[str, Any] = {
    "batch_size": 2,
    "gradient_accumulation": 1,
    "max_length": 192,
    "lora_r": 0,
    "learning_rate": 1e-3,
    "max_steps": 150,
    "logging_steps": 1,
    "save_steps": 10,
    "eval_steps": 0,
}
LEASE_S = 40
_LINE = re.compile(r"Run (\d+), epoch (\d+): (started|over)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--store", choices=["s3", "file"], default="s3")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="plumbline-fleet-") as folder, ExitStack() as stack:
        os.chmod(folder, 0o711)  # noqa: S103 -- PostgreSQL is another user
        report = measure(Path(folder), options.runs, options.store, stack)
    print(json.dumps(report, indent=1))
    return 1 if report["problems"] else 0


def measure(folder: Path, runs: int, store: str, stack: ExitStack) -> dict[str, Any]:
    apart = os.geteuid() == 0 and shutil.which("ip") is not None
    if apart:
        for name, network in HOSTS.items():
            stack.enter_context(make_namespace(name, network))
    house = stack.enter_context(run_services(folder, store))
    ask(house(folder / "web"), "stage", str(runs))
    workers = {name: Host(name, folder, house, apart) for name in HOSTS}
    for worker in workers.values():
        stack.callback(worker.kill)
        worker.start()
    began = time.monotonic()
    killed: dict[str, int] = {}
    victim = workers["gpu-a"]
    while not (state := look(house(folder / "web")["DATABASE_URL"]))["over"]:
        if time.monotonic() - began > 120 + 90 * runs:
            break
        if not killed and state["over_count"] >= runs // 4 and is_midway(state["running"].get("gpu-a")):
            run = state["running"]["gpu-a"]
            victim.kill()
            killed = {"run": run[0], "at_step": run[1], "seconds": round(time.monotonic() - began)}
            shutil.rmtree(victim.data_dir)  # the machine that takes its place begins with an empty disk
            victim.start()
        time.sleep(0.2)
    seconds = time.monotonic() - began
    deadline = time.monotonic() + 60  # a row is over before its worker has cleared up
    while sum(worker.read_log().count(": over") for worker in workers.values()) < runs and time.monotonic() < deadline:
        time.sleep(0.2)
    for worker in workers.values():
        worker.kill()
    report = {"runs": runs, "seconds": round(seconds), "store": store, "namespaces": apart, "killed": killed}
    report |= ask(house(folder / "web"), "audit")
    return report | judge(report, {name: worker.read_log() for name, worker in workers.items()})


def look(database: str) -> dict[str, Any]:
    """Asked all the time, so straight."""
    with psycopg.connect(database.replace("postgres://", "postgresql://", 1)) as connection:
        rows = connection.execute("SELECT id, state, owner, step FROM training_run").fetchall()
    over = sum(state not in ("queued", "running") for _pk, state, _owner, _step in rows)
    running = {re.split("[@:]", owner)[0]: (pk, step) for pk, state, owner, step in rows if state == "running"}
    return {"over": over == len(rows), "over_count": over, "running": running}


def is_midway(run: tuple[int, int] | None) -> bool:
    """With a checkpoint behind it, and enough before it."""
    return run is not None and 0.1 < run[1] / SETTINGS["max_steps"] < 0.7


def judge(report: dict[str, Any], logs: dict[str, str]) -> dict[str, Any]:
    """What the hosts say they did, against what the database says was done."""
    started = Counter[tuple[int, int]]()
    shares = Counter[str]()
    for name, log in logs.items():
        for run, epoch, what in _LINE.findall(log):
            if what == "started":
                started[int(run), int(epoch)] += 1
            else:
                shares[name] += 1
    epochs = {int(run): number for run, number in report["epochs"].items()}
    problems = list(report["problems"])
    problems += [
        f"run {run}, epoch {epoch} was begun {count} times" for (run, epoch), count in started.items() if count > 1
    ]
    expected = {(run, epoch) for run, last in epochs.items() for epoch in range(1, last + 1)}
    if set(started) != expected:
        problems.append(f"begun and counted epochs differ: {sorted(set(started) ^ expected)}")
    again = sum(last - 1 for last in epochs.values())
    if again != bool(report["killed"]):
        problems.append(f"{again} runs were taken up again")
    if min(shares[name] for name in HOSTS) == 0:
        problems.append(f"one host did nothing: {dict(shares)}")
    return {"shares": dict(shares), "taken_up_again": again, "problems": problems}


class Host:
    """A worker on a machine of its own."""

    def __init__(self, name: str, folder: Path, house: Any, apart: bool) -> None:
        self.name, self.data_dir, self._apart = name, folder / name, apart
        self._log = folder / f"{name}.log"
        self.environment = house(self.data_dir, HOSTS[name] + ".1" if apart else "127.0.0.1")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.data_dir.mkdir(exist_ok=True)
        argv = [sys.executable, "-m", "celery", "-A", "config", "worker", "-Q", "gpu", "-c", "1", "-l", "INFO"]
        argv += ["-n", f"{self.name}@%h", "--without-gossip", "--without-mingle"]
        if self._apart:
            script = f'hostname {self.name} && exec "$@"'
            cage = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh"]
            argv = ["ip", "netns", "exec", f"plumbline-{self.name}", *cage, *argv]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                argv, cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        """As when the plug is pulled: the worker and whatever it started, at once."""
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def leave(self, seconds: float) -> None:
        """The worker is asked to, and waited for."""
        if self._process:
            worker = find_worker(self._process.pid)
            os.kill(worker, signal.SIGTERM)
            self._process.wait(timeout=seconds)

    def read_log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")


def find_worker(pid: int) -> int:
    """The worker's main process below the tools that put it into a namespace."""
    while not Path(f"/proc/{pid}/comm").read_text().startswith(("python", "[celery")):
        pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    return pid


@contextmanager
def make_namespace(name: str, network: str) -> Iterator[None]:
    """One wire to this machine and no other way out."""
    inside = ["ip", "netns", "exec", f"plumbline-{name}"]
    outer, inner = f"pl-{name}", f"in-{name}"
    commands = [
        ["ip", "netns", "add", f"plumbline-{name}"],
        ["ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", f"plumbline-{name}"],
        ["ip", "addr", "add", f"{network}.1/30", "dev", outer],
        ["ip", "link", "set", outer, "up"],
        [*inside, "ip", "addr", "add", f"{network}.2/30", "dev", inner],
        [*inside, "ip", "link", "set", inner, "up"],
        [*inside, "ip", "link", "set", "lo", "up"],
    ]
    try:
        for command in commands:
            subprocess.run(command, check=True)
        yield
    finally:
        for command in (["ip", "netns", "delete", f"plumbline-{name}"], ["ip", "link", "delete", outer]):
            subprocess.run(command, check=False, stderr=subprocess.DEVNULL)


@contextmanager
def run_services(folder: Path, store: str) -> Iterator[Any]:
    """PostgreSQL, Redis and the store; gives ``house(data_dir, address)``, the environment of a host."""
    from tests.s3_server import BUCKET, run_s3

    sql, redis = find_free_port(), find_free_port()
    with ExitStack() as stack:
        stack.enter_context(run_postgresql(folder / "postgresql", sql))
        argv = ["redis-server", "--port", str(redis), "--bind", "*", "--protected-mode", "no", "--save", ""]
        broker = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        stack.callback(broker.wait)
        stack.callback(broker.kill)
        s3 = stack.enter_context(run_s3("0.0.0.0")).rpartition(":")[2] if store == "s3" else ""  # noqa: S104
        (folder / "store").mkdir()

        def house(data_dir: Path, address: str = "127.0.0.1") -> dict[str, str]:
            return os.environ | {
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "DATA_DIR": str(data_dir),
                "DATABASE_URL": f"postgres://postgres@{address}:{sql}/postgres",
                "CELERY_BROKER_URL": f"redis://{address}:{redis}/0",
                "STORE_URL": f"s3://{BUCKET}/fleet" if s3 else f"file://{folder / 'store'}",
                "AWS_ENDPOINT_URL": f"http://{address}:{s3}",
                "AWS_ACCESS_KEY_ID": "key",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "LEASE_SECONDS": str(LEASE_S),
                "HEARTBEAT_SECONDS": "3",
                "RECONCILE_SECONDS": "2",
                "OMP_NUM_THREADS": "1",
                "CUDA_VISIBLE_DEVICES": "",
                "LOG_LEVEL": "INFO",
            }

        yield house


@contextmanager
def run_postgresql(folder: Path, port: int) -> Iterator[None]:
    """A server with an empty database, for every address of this machine, gone afterwards."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/bin"))
    folder.mkdir()
    as_owner: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        as_owner = ["runuser", "-u", "postgres", "--"]
    make = [str(programs / "initdb"), "-D", str(folder), "-A", "trust", "-U", "postgres", "-N"]
    subprocess.run([*as_owner, *make], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    with (folder / "pg_hba.conf").open("a", encoding="utf-8") as rules:
        rules.write("host all all 10.77.0.0/16 trust\n")
    options = ["-c", "listen_addresses=*", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
    argv = [*as_owner, str(programs / "postgres"), "-D", str(folder), "-p", str(port), *options]
    with (folder.parent / "postgresql.log").open("wb") as log:
        server = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder)
    try:
        ready = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-q"]
        while subprocess.run(ready, check=False).returncode:
            if server.poll() is not None:
                raise RuntimeError((folder.parent / "postgresql.log").read_text(encoding="utf-8"))
            time.sleep(0.2)
        yield
    finally:
        subprocess.run(
            [*as_owner, str(programs / "pg_ctl"), "-D", str(folder), "-m", "immediate", "stop"],
            check=False,
            stdout=subprocess.DEVNULL,
            cwd=folder,
        )
        server.wait()


# -- On the web host, in a process of its own -------------------------------------------------------------------------


def ask(environment: dict[str, str], what: str, *arguments: str, program: str = "benchmarks.fleet") -> dict[str, Any]:
    command = [sys.executable, "-m", program, "--here", what, *arguments]
    ended = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return answer


def stage(runs: str) -> dict[str, Any]:
    """The house: real pairs, frozen; a tiny base model; and the queue."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.utils import timezone

    from annotate.models import DatasetVersion
    from models_registry.models import ModelSource, ModelVersion
    from tests.tiny_models import make_tiny_policy
    from training.services import launch_run

    quiet = {"stdout": open(os.devnull, "w")}  # noqa: SIM115
    call_command("migrate", verbosity=0)
    lead = User.objects.create_user("lead", is_staff=True)
    call_command("seed_sample_project", verbosity=0)
    call_command("export_dataset", project="helpful-answers", aggregation="recorded", **quiet)
    base = ModelVersion.objects.create(name="tiny", source=ModelSource.FOLDER, created_by=lead, ready_at=timezone.now())
    make_tiny_policy(base.folder)
    call_command("fill_store", **quiet)
    base.refresh_from_db()
    version = DatasetVersion.objects.get()
    for number in range(int(runs)):
        name = f"run {number + 1}"
        launch_run(dataset_version=version, base_model=base, method="dpo", values=SETTINGS, name=name, by=lead)
    return {"stored": bool(base.facts["stored"] and version.counts["stored"])}


def audit() -> dict[str, Any]:
    """Every run ended well with one model of its own; each is fetched, checked by digests, and equals all others."""
    from models_registry.depot import fetch_model
    from models_registry.models import ModelVersion
    from models_registry.store import open_store
    from training.models import Run, RunMetric

    runs = list(Run.objects.order_by("pk").select_related("model"))
    problems = [f"{run} is {run.state}: {run.cause or run.message}" for run in runs if run.state != "finished"]
    weights = set()
    for run in runs:
        if run.model is None:
            problems.append(f"{run} has no model")
            continue
        fetch_model(run.model)
        weights.add(run.model.facts["sha256"]["model.safetensors"])
        steps = sorted(RunMetric.objects.filter(run=run, step__gt=0).values_list("step", flat=True))
        if steps != list(range(1, SETTINGS["max_steps"] + 1)):
            problems.append(f"{run} has metrics of the steps {steps}")
    if len(weights) != 1:
        problems.append(f"{len(weights)} different weights came of equal runs")
    if ModelVersion.objects.filter(source="run").count() != len(runs):
        problems.append("there are more or fewer models than runs")
    store = open_store()
    left = [key for key in store.list("runs") if "/checkpoints/" in key] if store else []
    if left:
        problems.append(f"{len(left)} files of checkpoints were left in the store")
    resumed = [note for run in runs for note in run.result.get("notes", []) if note.startswith("Taken up")]
    return {"epochs": {run.pk: run.epoch for run in runs}, "resumed": resumed, "problems": problems}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        import django

        django.setup()
        answer = {"stage": stage, "audit": audit}[sys.argv[2]](*sys.argv[3:])  # type: ignore[operator]
        print(json.dumps(answer))
        sys.exit()
    sys.exit(main())
