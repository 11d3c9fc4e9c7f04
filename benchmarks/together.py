"""Two GPU hosts that share no disk train one run together, while hosts and the wire between them are lost.

    python -m benchmarks.together [--rounds 1]

Each host is a network namespace with a host name, a process namespace and a DATA_DIR of its own; a wire of their own
joins the two (this needs Linux and root). PostgreSQL, Redis and the S3 server (moto) are started for this, and end with
it. Prints JSON; fails where a run did not end well, or its weights differ in a byte from those of one left alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.fleet import HOSTS, SETTINGS, Host, ask, make_namespace, run_services

PROGRAM = "benchmarks.together"
WIRE = {"gpu-a": "10.77.9.1", "gpu-b": "10.77.9.2"}
PEER_TIMEOUT_S = 20
PATIENCE_S = 240.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1, help="how often each fault is done")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="plumbline-together-") as folder, ExitStack() as stack:
        os.chmod(folder, 0o711)  # noqa: S103 -- PostgreSQL is another user
        report = measure(Path(folder), options.rounds, stack)
    print(json.dumps(report, indent=1))
    return 1 if report["problems"] else 0


def measure(folder: Path, rounds: int, stack: ExitStack) -> dict[str, Any]:
    for name, network in HOSTS.items():
        stack.enter_context(make_namespace(name, network))
    stack.enter_context(join_hosts())
    house = stack.enter_context(run_services(folder, "s3"))
    web = house(folder / "web")
    ask(web, "stage", "0")
    hosts = {}
    for name in HOSTS:
        hosts[name] = Host(name, folder, house, apart=True)
        hosts[name].environment |= {
            "WORKER_ADDRESS": WIRE[name],
            "PLUMBLINE_PEER_TIMEOUT_S": str(PEER_TIMEOUT_S),
        }
        stack.callback(hosts[name].kill)
        hosts[name].start()
    faults: dict[str, Callable[[Host, Host], None]] = {
        "none": lambda _first, _second: None,
        "host of rank 1 lost": lambda _first, second: lose(second),
        "host of rank 0 lost": lambda first, _second: lose(first),
        "worker of rank 1 asked to leave": lambda _first, second: restart(second),
        "wire cut for 5 s": lambda _first, _second: cut_wire(5),
        "wire cut for longer than they wait": lambda _first, _second: cut_wire(2 * PEER_TIMEOUT_S),
    }
    trials = [run_trial(web, hosts, name, fault) for _round in range(rounds) for name, fault in faults.items()]
    problems = [f"{trial['fault']}: {problem}" for trial in trials for problem in trial.pop("problems")]
    if len({trial["weights"] for trial in trials}) != 1:
        problems.append("weights differ")
    for trial in trials:
        trial["weights"] = trial["weights"][:12]
    return {"trials": trials, "problems": problems}


def run_trial(
    web: dict[str, str], hosts: dict[str, Host], name: str, fault: Callable[[Host, Host], None]
) -> dict[str, Any]:
    """One run, disturbed once with its first checkpoint behind it."""
    run = ask(web, "launch", program=PROGRAM)["run"]
    began = time.monotonic()
    row = wait(web, run, lambda row: row["state"] == "running" and row["step"] >= 15)
    first = hosts[row["host"]]
    second = next(host for host in hosts.values() if host is not first)
    step, struck = row["step"], time.monotonic()
    fault(first, second)
    trial: dict[str, Any] = {"fault": name, "at_step": step}
    if name not in ("none", "wire cut for 5 s"):
        wait(web, run, lambda row: row["epoch"] > 1 and row["message"].startswith("Training"))
        trial["training_again_after_s"] = round(time.monotonic() - struck, 1)
    row = wait(web, run, lambda row: row["state"] not in ("queued", "running"))
    trial["seconds"] = round(time.monotonic() - began, 1)
    return trial | ask(web, "audit", str(run), program=PROGRAM)


def wait(web: dict[str, str], run: int, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The run's row once it is so, or what it was when patience ended."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so(row := look(web["DATABASE_URL"], run)) and time.monotonic() < deadline:
        if row["state"] in ("failed", "cancelled", "paused", "finished"):
            break
        time.sleep(0.1)
    return row


def look(database: str, run: int) -> dict[str, Any]:
    query = "SELECT state, owner, step, epoch, message FROM training_run WHERE id = %s"
    with psycopg.connect(database.replace("postgres://", "postgresql://", 1)) as connection:
        found = connection.execute(query, [run]).fetchone()
    if found is None:
        raise LookupError(f"There is no run {run}.")
    row = dict(zip(("state", "owner", "step", "epoch", "message"), found, strict=True))
    return row | {"host": re.split("[@:]", row["owner"])[0]}


def lose(host: Host) -> None:
    """The plug is pulled; a machine with an empty disk takes its place."""
    host.kill()
    shutil.rmtree(host.data_dir)
    host.start()


def restart(host: Host) -> None:
    """As at a deploy: it leaves in good order, and comes again."""
    host.leave(PATIENCE_S)
    host.start()


def cut_wire(seconds: float) -> None:
    """Whoever sends gets neither an answer nor an error."""
    drop = ["ip", "netns", "exec", "plumbline-gpu-a", "ip", "link", "set", "wire-a"]
    subprocess.run([*drop, "down"], check=True)
    time.sleep(seconds)
    subprocess.run([*drop, "up"], check=True)


@contextmanager
def join_hosts() -> Iterator[None]:
    """A wire between the two namespaces; it goes with them."""
    spaces = {name: f"plumbline-{name}" for name in HOSTS}
    ends = dict(zip(HOSTS, ("wire-a", "wire-b"), strict=True))
    first, second = HOSTS
    make = ["ip", "link", "add", ends[first], "netns", spaces[first], "type", "veth"]
    subprocess.run([*make, "peer", "name", ends[second], "netns", spaces[second]], check=True)
    for name in HOSTS:
        inside = ["ip", "netns", "exec", spaces[name], "ip"]
        subprocess.run([*inside, "addr", "add", f"{WIRE[name]}/30", "dev", ends[name]], check=True)
        subprocess.run([*inside, "link", "set", ends[name], "up"], check=True)
    yield


# -- On the web host, in a process of its own -------------------------------------------------------------------------


def launch() -> dict[str, Any]:
    from django.contrib.auth.models import User

    from annotate.models import DatasetVersion
    from models_registry.hints import flush_hints
    from models_registry.models import ModelVersion
    from training.models import Run
    from training.placing import Placement
    from training.services import launch_run

    run = launch_run(
        dataset_version=DatasetVersion.objects.get(),
        base_model=ModelVersion.objects.get(name="tiny"),
        method="dpo",
        values=SETTINGS,
        name=f"together {Run.objects.count() + 1}",
        placement=Placement(hosts=2),
        by=User.objects.get(username="lead"),
    )
    flush_hints(5.0)
    return {"run": run.pk}


def audit(number: str) -> dict[str, Any]:
    """How it ended; its model is fetched from the store and checked by its digests."""
    from models_registry.depot import fetch_model
    from training.models import Run, RunMetric

    run = Run.objects.select_related("model").get(pk=number)
    problems = [] if run.state == "finished" else [f"it is {run.state}: {run.cause or run.message}"]
    digest = ""
    if run.model is None:
        problems.append("it has no model")
    else:
        fetch_model(run.model)
        digest = run.model.facts["sha256"]["model.safetensors"]
    if run.result.get("processes") != 2:
        problems.append(f"it was trained by {run.result.get('processes')} processes")
    steps = sorted(RunMetric.objects.filter(run=run, step__gt=0).values_list("step", flat=True))
    if steps != list(range(1, run.total_steps + 1)):
        problems.append(f"it has metrics of the steps {steps}")
    resumed = [note for note in run.result.get("notes", []) if note.startswith("Taken up")]
    counted = {"attempts": run.epoch, "crashes": run.crashes, "resumed": resumed}
    return counted | {"weights": digest, "problems": problems}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        import django

        django.setup()
        answer = {"launch": launch, "audit": audit}[sys.argv[2]](*sys.argv[3:])  # type: ignore[operator]
        print(json.dumps(answer))
        sys.exit()
    sys.exit(main())
