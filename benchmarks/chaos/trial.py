"""One set-up under chaos: its own servers and house, its runs and faults, and the audit; prints one line of JSON.

``python -m benchmarks.chaos`` starts it, as ``python -m benchmarks.chaos.trial --set-up sqlite --folder /tmp/x``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.chaos.servers import Server, make_postgresql, make_rabbitmq, make_redis
from benchmarks.labeling.scratch import find_free_port

SET_UPS = ("sqlite", "redis", "rabbitmq")
LEASE_S, HEARTBEAT_S, RECONCILE_S = 10, 1, 1
STEPS, SAVE_EVERY = 24, 4
PAUSE_S = 0.15
"""Asleep after each step."""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set-up", choices=SET_UPS, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--lanes", type=int, required=True, help="runs at a time")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--minutes", type=float, default=0)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_args: sys.exit(1))  # whatever was started ends with this process
    with ExitStack() as stack:
        servers = start_servers(options.set_up, options.folder, stack)
        os.environ |= build_environment(options.folder, servers)
        print(json.dumps(run_trial(options, servers) | {"set_up": options.set_up}))


def start_servers(set_up: str, folder: Path, stack: ExitStack) -> dict[str, Server]:
    servers = {}
    if set_up != "sqlite":
        make_broker = make_redis if set_up == "redis" else make_rabbitmq
        servers = {"database": make_postgresql(folder / "postgresql"), "broker": make_broker(folder / "broker")}
    for server in servers.values():
        stack.callback(server.kill)
        server.start()
    return servers


def build_environment(folder: Path, servers: dict[str, Server]) -> dict[str, str]:
    """Of this process and of all that it starts."""
    trace, data = folder / "trace", folder / "data"
    trace.mkdir()
    data.mkdir()
    urls = {"database": "DATABASE_URL", "broker": "CELERY_BROKER_URL"}
    for name in urls.values():
        os.environ.pop(name, None)
    return {urls[name]: server.url for name, server in servers.items()} | {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATA_DIR": str(data),
        "PORT": str(find_free_port()),
        "LEASE_SECONDS": str(LEASE_S),
        "HEARTBEAT_SECONDS": str(HEARTBEAT_S),
        "RECONCILE_SECONDS": str(RECONCILE_S),
        "CHAOS_TRACE": str(trace),
        "CHAOS_PAUSE_S": str(PAUSE_S),
        "PYTHONPATH": str(Path(__file__).parent / "shim"),
        "OMP_NUM_THREADS": "1",
    }


def run_trial(options: argparse.Namespace, servers: dict[str, Server]) -> dict[str, Any]:
    import django

    django.setup()

    from django.core.management import call_command

    from benchmarks.chaos.conductor import Conductor
    from benchmarks.chaos.house import House
    from benchmarks.chaos.programme import perform
    from config.static_files import collect_changed_files

    call_command("migrate", verbosity=0, interactive=False)
    collect_changed_files()
    house = House(options.lanes + 1)
    conductor = Conductor(house, servers, seed=options.seed)
    conductor.furnish()
    house.start()
    try:
        how = {name: getattr(options, name) for name in ("runs", "lanes", "only", "minutes")}
        return perform(conductor, **how)
    finally:
        house.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
